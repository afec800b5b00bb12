//! `hz3 completions` and `hz3 man`, made from the description that `--help` prints.

use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::failure::{Failure, Result};
use crate::files;
use crate::text;
use clap::CommandFactory;
use clap_mangen::Man;

/// Prints the completion script of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hz3", &mut script);
    text::out::bytes(&script)?;
    Ok(0)
}

/// Prints the man page, or writes all of them.
pub(crate) fn man(args: &ManArgs) -> Result<u8> {
    let command = Cli::command();
    let Some(directory) = &args.dir else {
        text::out::bytes(&page(command)?)?;
        return Ok(0);
    };
    files::make_directory(directory)?;
    let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let subcommands = visible.map(|sub| {
        // clap wants names that live as long as the program. Leaking these few is harmless.
        let name: &'static str = format!("hz3-{}", sub.get_name()).leak();
        sub.clone().name(name).bin_name(name.replace('-', " "))
    });
    for command in std::iter::once(command.clone()).chain(subcommands) {
        let file = directory.join(format!("{}.1", command.get_name()));
        files::write(&file, &page(command)?)?;
        text::out::line(&file.display().to_string())?;
    }
    Ok(0)
}

fn page(command: clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page).map_err(|e| Failure::io("write the man page", e))?;
    Ok(page)
}
