//! The weights that this repository brings along.

use std::error::Error;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};
use isomax_backend::{InferenceBackend, device};
use isomax_bundle::{Bundle, Predictor};

#[test]
fn the_bundle_of_the_repository_decides() -> Result<(), Box<dyn Error>> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights/cifar10-resnet-20.safetensors");
    let bundle = Bundle::load(path)?;
    let predictor = Predictor::<InferenceBackend, _>::from_bundle(&bundle, &device())?;
    assert_eq!(bundle.manifest().classes[6], "frog");
    for grey in [0, 100, 200] {
        let mut file = Cursor::new(Vec::new());
        RgbImage::from_pixel(50, 40, Rgb([grey; 3])).write_to(&mut file, ImageFormat::Png)?;
        let decision = predictor.decide_file(file.get_ref())?;
        assert!(!decision.in_distribution, "nothing to see: {decision:?}");
    }
    Ok(())
}
