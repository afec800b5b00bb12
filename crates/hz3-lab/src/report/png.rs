//! Pictures as PNG.

use super::Picture;
use super::svg::Svg;
use crate::failure::{Failure, Result};
use crate::files;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};
use std::path::Path;
use std::sync::Arc;

/// Pixels of the file per unit of the drawing.
const SCALE: f32 = 2.0;
/// Fonts without serifs, the best first; otherwise any font serves.
const FONTS: [&str; 5] = ["DejaVu Sans", "Noto Sans", "Liberation Sans", "Inter", "Arial"];

/// Writes every picture into `directory`.
pub(crate) fn write(pictures: &[Picture], directory: &Path) -> Result<()> {
    let options = options()?;
    for picture in pictures {
        let file = directory.join(format!("{}.png", picture.name));
        let pixels = draw(&picture.svg, &options)?;
        let bytes = pixels.encode_png().map_err(|e| Failure::io("encode a picture", e))?;
        files::write(&file, &bytes)?;
    }
    Ok(())
}

/// Finds the system's fonts.
fn options() -> Result<Options<'static>> {
    let mut fonts = Database::new();
    fonts.load_system_fonts();
    let names = |name: &str| {
        fonts.faces().any(|face| face.families.iter().any(|(family, _)| family == name))
    };
    let any = || fonts.faces().find_map(|face| Some(face.families.first()?.0.clone()));
    let preferred = FONTS.into_iter().find(|name| names(name)).map(str::to_owned);
    let font = preferred.or_else(any).ok_or_else(|| {
        Failure::new("the pictures need a font, and none is installed")
            .with_remedy("apt-get install fonts-dejavu-core")
    })?;
    fonts.set_sans_serif_family(font.clone());
    Ok(Options { font_family: font, fontdb: Arc::new(fonts), ..Options::default() })
}

fn draw(svg: &Svg, options: &Options<'_>) -> Result<Pixmap> {
    let tree = Tree::from_str(&svg.light(), options).map_err(|e| Failure::io("draw", e))?;
    let size = tree.size().to_int_size().scale_by(SCALE);
    let pixels = size.and_then(|size| Pixmap::new(size.width(), size.height()));
    let mut pixels = pixels.ok_or_else(|| Failure::new("a picture is too large"))?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::svg::Anchor;

    #[test]
    fn text_and_colours_are_drawn() {
        let mut svg = Svg::new(200.0, 100.0, "x");
        svg.text((10.0, 30.0), Anchor::Start, "name", "hz3");
        svg.rect((100.0, 0.0), (50.0, 50.0), "f0", "");
        let pixels = draw(&svg, &options().unwrap()).unwrap();
        assert_eq!((pixels.width(), pixels.height()), (400, 200));
        let at = |x: u32, y: u32| {
            let pixel = pixels.pixel(x, y).unwrap();
            [pixel.red(), pixel.green(), pixel.blue(), pixel.alpha()]
        };
        assert_eq!(at(399, 199), [255, 255, 255, 255], "paper");
        assert_eq!(at(250, 50), [0x00, 0x72, 0xb2, 255], "the colour of the first series");
        let dark = (0..200).flat_map(|x| (0..100).map(move |y| at(x, y)));
        let dark = dark.filter(|[red, ..]| *red < 64).count();
        assert!(dark > 100, "{dark} dark pixels of text");
    }
}
