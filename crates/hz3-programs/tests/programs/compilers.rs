//! gcc and g++: real headers with real code in them; the objects must be the same byte for byte,
//! and the program that was built must itself run on the library.

use hz3_programs::{Result, compare, input, packages};

#[test]
fn gcc_compiles_the_stb_libraries_to_the_same_objects() -> Result {
    packages::find("stb")?;
    let libraries = [
        ("stb_image.h", "STB_IMAGE_IMPLEMENTATION"),
        ("stb_truetype.h", "STB_TRUETYPE_IMPLEMENTATION"),
        ("stb_image_write.h", "STB_IMAGE_WRITE_IMPLEMENTATION"),
        ("stb_sprintf.h", "STB_SPRINTF_IMPLEMENTATION"),
    ];
    // Each compilation is the driver, the compiler proper and the assembler.
    compare("gcc", 3 * libraries.len(), |site| {
        let mut objects = Vec::new();
        for (header, switch) in libraries {
            let source = header.replace(".h", ".c");
            let object = header.replace(".h", ".o");
            site.write(&source, format!("#define {switch}\n#include <stb/{header}>\n"))?;
            site.run("gcc")?.args(["-O2", "-g", "-c", &source, "-o", &object]).output()?;
            objects.extend(site.read(&object)?);
        }
        Ok(objects)
    })
}

#[test]
fn gplusplus_compiles_templates_and_the_program_gives_the_same_result() -> Result {
    packages::find("json.hpp")?;
    // Driver, compiler, assembler, collect2, linker; then the program, twice.
    compare("g++", 7, |site| {
        site.write("work.cpp", include_str!("../../data/work.cpp"))?;
        site.write("corpus.txt", input::text(5, 300_000))?;
        let args = ["-std=c++20", "-O1", "-pthread", "work.cpp", "-o", "work"];
        site.run("g++")?.args(args).output()?;
        let mut result = site.read("work")?;
        // Once as it is, and once with nearly no room in the caches: then nearly every call misses,
        // and a fault of a miss shows that a hit would hide.
        let run = || site.run_path(&site.path("work")).arg("corpus.txt");
        result.extend(run().output()?.stdout);
        result.extend(run().env("HZ3_THREAD_CACHE", "0").output()?.stdout);
        Ok(result)
    })
}
