use super::*;
use burn::backend::Flex;
use burn::tensor::{Distribution, Tensor};
use isomax_burn::DetectorConfig;
use isomax_models::CifarResNetConfig;
use proptest::prelude::*;
use std::error::Error;

use crate::{Normalization, Predictor, Preprocessing};

type Tested = Result<(), Box<dyn Error>>;

fn network(classes: usize) -> CifarResNetConfig {
    CifarResNetConfig::new(8, classes).with_head(HeadKind::IsoMaxPlus)
}

fn bundle() -> Result<Bundle, Box<dyn Error>> {
    let device = Default::default();
    let network = network(2).init::<Flex>(&device);
    let held_out = Tensor::random([20, 3, 32, 32], Distribution::Default, &device);
    let detector = DetectorConfig::new().fit(network.head(), network.forward(held_out))?;
    let manifest = Manifest {
        architecture: "resnet-8".to_owned(),
        head: "isomax+".to_owned(),
        classes: vec!["ants".to_owned(), "bees".to_owned()],
        preprocessing: Preprocessing::whole(32, Normalization::CIFAR10),
        detector: Some(serde_json::from_str(&detector.to_json())?),
        provenance: Provenance { seed: Some(u64::MAX), ..Provenance::default() },
    };
    Ok(Bundle::new(manifest, &network)?)
}

#[test]
fn a_bundle_comes_back_as_it_was() -> Tested {
    let (bundle, folder) = (bundle()?, tempfile::tempdir()?);
    let path = folder.path().join("a.safetensors");
    bundle.save(&path)?;
    let loaded = Bundle::load(&path)?;
    assert_eq!((loaded.manifest(), loaded.as_bytes()), (bundle.manifest(), bundle.as_bytes()));
    assert_eq!(loaded.detector()?.to_json(), bundle.detector()?.to_json());

    let device = Default::default();
    let images = Tensor::<Flex, 4>::random([4, 3, 32, 32], Distribution::Default, &device);
    let logits = loaded.network(&device)?.forward(images.clone()).into_data();
    assert_eq!(bundle.network(&device)?.forward(images).into_data(), logits);
    // Weights by themselves for every other program.
    let mut plain = network(2).init::<Flex>(&device);
    plain.load_weights(&path)?;
    Ok(())
}

#[test]
fn every_change_of_a_byte_is_noticed() -> Tested {
    let whole = bundle()?.as_bytes().to_vec();
    let header = 8 + u64::from_le_bytes(*whole.first_chunk().ok_or("short")?) as usize;
    let beyond = (header..whole.len()).step_by(1_511);
    for at in (0..header).chain(beyond).chain([whole.len() - 1]) {
        for change in [0x01, 0x20, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            assert!(Bundle::from_bytes(bytes, "changed").is_err(), "byte {at} of {header}");
        }
    }
    // Another blank at the end of the header is none of its bytes as they were written.
    let blanks = whole[..header].iter().rev().take_while(|&&byte| byte == b' ').count();
    if blanks > 0 {
        let mut bytes = whole.clone();
        bytes[header - 1] = b'\n';
        assert!(matches!(Bundle::from_bytes(bytes, "x"), Err(BundleError::Damaged { .. })));
    }
    for length in (0..whole.len()).step_by(997) {
        assert!(Bundle::from_bytes(whole[..length].to_vec(), "short").is_err(), "{length} bytes");
    }
    Ok(())
}

/// The bytes of a bundle whose manifest was changed and summed anew, as another program might do it.
fn changed(change: impl FnOnce(&mut serde_json::Value)) -> Result<Vec<u8>, Box<dyn Error>> {
    let bundle = bundle()?;
    let mut manifest = serde_json::to_value(bundle.manifest())?;
    change(&mut manifest);
    let network = bundle.network::<Flex>(&Default::default())?;
    Ok(format::write_value(manifest, store::tensors(&network)?)?)
}

#[track_caller]
fn error_of(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let bytes = changed(change).expect("written");
    Bundle::from_bytes(bytes, "x").map(|_| ()).expect_err("refused").to_string()
}

#[test]
fn what_cannot_be_is_refused() -> Tested {
    assert!(Bundle::from_bytes(changed(|_| ())?, "x").is_ok());
    for (error, expected) in [
        (
            error_of(|m| m["version"] = 2.into()),
            "a bundle of version 2; this program reads version 1",
        ),
        (error_of(|m| m["classes"] = serde_json::json!([])), "expected one class at least"),
        (error_of(|m| m["classes"] = serde_json::json!(["a", ""])), "each with a name"),
        (
            error_of(|m| m["classes"] = serde_json::json!(["a"])),
            "a detector for 2 classes beside 1",
        ),
        (
            error_of(|m| m["head"] = "softmax".into()),
            "a detector for the head isomax+ beside the head softmax",
        ),
        (
            error_of(|m| m["preprocessing"]["size"] = 0.into()),
            "expected images of 1 to 4096 pixels",
        ),
        (error_of(|m| m["preprocessing"]["flip"] = true.into()), "unknown field `flip`"),
        (error_of(|m| m["detector"]["version"] = 99.into()), "version"),
        (error_of(|m| m["nonsense"] = 1.into()), "unknown field `nonsense`"),
    ] {
        assert!(error.starts_with("x: ") && error.contains(expected), "{error}");
    }
    let weights = tempfile::NamedTempFile::new()?;
    network(2).init::<Flex>(&Default::default()).save_safetensors(weights.path())?;
    let error = Bundle::load(weights.path()).expect_err("no manifest");
    assert!(error.to_string().contains("weights by themselves"), "{error}");
    Ok(())
}

#[test]
fn another_network_is_refused() -> Tested {
    let device = Default::default();
    let bundle = bundle()?;
    let mut three = network(3).init::<Flex>(&device);
    assert!(matches!(bundle.load_into(&mut three), Err(BundleError::OtherHead { .. })));
    let mut deeper =
        CifarResNetConfig::new(14, 2).with_head(HeadKind::IsoMaxPlus).init::<Flex>(&device);
    assert!(matches!(bundle.load_into(&mut deeper), Err(BundleError::Invalid { .. })));
    // Of 40 billion weights, for which no memory is asked.
    let huge = changed(|m| m["architecture"] = "wrn-1996-100".into())?;
    let error =
        Bundle::from_bytes(huge, "x")?.network::<Flex>(&device).map(|_| ()).expect_err("huge");
    assert!(error.to_string().contains("wrn-1996-100 has"), "{error}");
    let own = Bundle::from_bytes(changed(|m| m["architecture"] = "mine".into())?, "x")?;
    assert!(matches!(own.network::<Flex>(&device), Err(BundleError::Network { .. })));
    own.load_into(&mut network(2).init::<Flex>(&device))?;
    // No network of so many strides sees anything in it.
    let small = changed(|m| {
        m["preprocessing"]["size"] = 2.into();
        m["preprocessing"]["resize"] = 2.into();
    })?;
    let small = Predictor::<Flex, _>::from_bundle(&Bundle::from_bytes(small, "x")?, &device);
    assert!(matches!(small, Err(BundleError::Images { .. })));
    let none = Bundle::from_bytes(changed(|m| m["detector"] = serde_json::Value::Null)?, "x")?;
    assert!(matches!(none.detector(), Err(BundleError::NoDetector { .. })));
    Ok(())
}

proptest! {
    #[test]
    fn bytes_of_strangers_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Bundle::from_bytes(bytes.clone(), "x").is_err());
        let mut framed = (bytes.len() as u64).to_le_bytes().to_vec();
        framed.extend(bytes);
        prop_assert!(Bundle::from_bytes(framed, "x").is_err());
    }
}
