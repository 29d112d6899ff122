//! Burn's part of `pytorch/roundtrip.py`: `write FOLDER` saves networks and their logits, and
//! `compare FOLDER` compares what came back with what was written, bit by bit.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::{Autodiff, Flex};
use burn::module::AutodiffModule;
use burn::tensor::{Distribution, Tensor, TensorData};
use isomax_burn::HeadKind;
use isomax_models::{Architecture, Backbone, Model, ModelConfig};
use safetensors::tensor::{Dtype, TensorView};

/// Every family of networks, and every head.
const CASES: [(&str, HeadKind); 6] = [
    ("resnet-20", HeadKind::SoftMax),
    ("resnet-110", HeadKind::IsoMaxPlus),
    ("densenet-bc-100", HeadKind::DisMax),
    ("resnet-18", HeadKind::IsoMax),
    ("resnet-18-imagenet", HeadKind::IsoMaxPlus),
    ("wrn-16-4", HeadKind::IsoMax),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [step, folder] = arguments.as_slice() else {
        return Err("usage: roundtrip write|compare FOLDER".into());
    };
    for (name, head) in CASES {
        let config = ModelConfig::new(name.parse::<Architecture>()?, 10).with_head(head);
        let path = Path::new(folder).join(format!("{name} {head}.safetensors"));
        match step.as_str() {
            "write" => write(&config, &path)?,
            "compare" => compare(&config, &path)?,
            other => return Err(format!("unknown step '{other}'; known: write, compare").into()),
        }
    }
    Ok(())
}

fn write(config: &ModelConfig, path: &Path) -> Result<(), Box<dyn Error>> {
    let device = Default::default();
    let model = config.init::<Autodiff<Flex>>(&device);
    // A few batches, so that the running statistics have something to say.
    for _ in 0..3 {
        model.forward(Tensor::random([4, 3, 32, 32], Distribution::Normal(0.1, 1.1), &device));
    }
    let model = model.valid();
    model.save_safetensors(path)?;
    let images = Tensor::random([4, 3, 32, 32], Distribution::Default, &device);
    let logits = model.forward(images.clone());
    let (images, logits) = (images.into_data(), logits.into_data());
    let views = [("images", view(&images)?), ("logits", view(&logits)?)];
    fs::write(path.with_extension("io"), safetensors::serialize(views, None)?)?;
    Ok(())
}

fn view(data: &TensorData) -> Result<TensorView<'_>, safetensors::SafeTensorError> {
    TensorView::new(Dtype::F32, data.shape.to_vec(), data.as_bytes())
}

fn compare(config: &ModelConfig, path: &Path) -> Result<(), Box<dyn Error>> {
    let values = |path: PathBuf| -> Result<Vec<u8>, Box<dyn Error>> {
        let mut model: Model<Flex> = config.init(&Default::default());
        model.load_safetensors(&path)?;
        let again = path.with_extension("again");
        model.save_safetensors(&again)?;
        Ok(fs::read(again)?)
    };
    let (sent, back) = (values(path.to_owned())?, values(path.with_extension("back"))?);
    if sent != back {
        return Err(
            format!("{} and {} came back with other weights", path.display(), config.head).into()
        );
    }
    println!("{}: {} bytes came back as they were", config.architecture, back.len());
    Ok(())
}
