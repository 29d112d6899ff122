use super::*;
use burn::backend::Flex;
use burn::tensor::{Distribution, Tensor};
use isomax_burn::posthoc::{BankConfig, FeatureStatistics, Method, Needs};
use isomax_burn::{Decision, DetectorConfig};
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
    let device = Default::default();
    let json = |bundle: &Bundle| match bundle.detector::<Flex>(&device) {
        Ok(AnyDetector::Logits(detector)) => Some(detector.to_json()),
        _ => None,
    };
    assert!(json(&loaded).is_some());
    assert_eq!(json(&loaded), json(&bundle));

    let images = Tensor::<Flex, 4>::random([4, 3, 32, 32], Distribution::Default, &device);
    let logits = loaded.network(&device)?.forward(images.clone()).into_data();
    assert_eq!(bundle.network(&device)?.forward(images).into_data(), logits);
    // Weights by themselves for every other program.
    let mut plain = network(2).init::<Flex>(&device);
    plain.load_weights(&path)?;
    Ok(())
}

/// A bundle whose detector is the distance to the nearest neighbour of its training features, and decisions of that.
fn with_neighbours() -> Result<(Bundle, Vec<Decision>), Box<dyn Error>> {
    let device = Default::default();
    let network = network(2).init::<Flex>(&device);
    let features = |images: Tensor<Flex, 4>| network.forward_features(images);
    let images = |n| Tensor::random([n, 3, 32, 32], Distribution::Default, &device);
    let method: Method = "knn:k=1".parse()?;
    let mut statistics = FeatureStatistics::new(Needs::of(&[method]), 64, 2, BankConfig::default());
    let training = features(images(30));
    let logits = network.head().forward(training.clone());
    let labels = Tensor::arange(0..30, &device).remainder_scalar(2);
    statistics.update(training, logits, labels)?;
    let fitted = statistics.fit(&method, network.head())?;
    let config = DetectorConfig::new();
    let detector = PostHocDetector::fit(&config, fitted, network.head(), features(images(20)))?;
    let manifest = Manifest { detector: None, ..bundle()?.manifest().clone() };
    let gray = Tensor::full([1, 3, 32, 32], 0.5, &device);
    let decisions = detector.decide(network.head(), features(gray))?;
    Ok((Bundle::with_posthoc(manifest, &network, &detector)?, decisions))
}

#[test]
fn a_post_hoc_detector_stands_in_place_of_one_of_logits() -> Tested {
    let (bundle, expected) = with_neighbours()?;
    let (device, folder) = (Default::default(), tempfile::tempdir()?);
    let path = folder.path().join("a.safetensors");
    bundle.save(&path)?;
    let loaded = Bundle::load(&path)?;
    let detector = loaded.detector::<Flex>(&device)?;
    assert_eq!(detector.score_name().as_deref(), Some("knn:k=1"));
    let network = loaded.network::<Flex>(&device)?;
    let gray = Tensor::full([1, 3, 32, 32], 0.5, &device);
    let found = detector.decide_rows(network.head(), network.forward_features(gray))?;
    assert_eq!(found, [Some(expected[0])]);
    Predictor::<Flex, _>::from_bundle(&loaded, &device)?;
    // Weights by themselves for every other program, as of any bundle.
    let mut plain = self::network(2).init::<Flex>(&device);
    plain.load_weights(&path)?;
    Ok(())
}

#[test]
fn a_post_hoc_detector_of_something_else_is_refused() -> Tested {
    let (bundle, _) = with_neighbours()?;
    let device = Default::default();
    let network = bundle.network::<Flex>(&device)?;
    // Without its tensors.
    let manifest = bundle.manifest().clone();
    let bare = Bundle::new(manifest.clone(), &network);
    assert!(matches!(bare, Err(BundleError::Invalid { .. })), "{bare:?}");
    let bytes = format::write(&manifest, store::tensors(&network)?)?;
    let detector = Bundle::from_bytes(bytes, "upload")?.detector::<Flex>(&device);
    assert!(matches!(detector, Err(BundleError::Detector { .. })), "{detector:?}");
    // Beside the weights of another network.
    let AnyDetector::PostHoc(detector) = bundle.detector::<Flex>(&device)? else {
        return Err("no post-hoc detector".into());
    };
    let other = self::network(2).init::<Flex>(&device);
    let foreign = Bundle::with_posthoc(manifest, &other, &detector);
    assert!(matches!(foreign, Err(BundleError::Detector { .. })), "{foreign:?}");
    // Beside other classes.
    let mut manifest = bundle.manifest().clone();
    manifest.classes.push("wasps".to_owned());
    let bytes = format::write(&manifest, store::tensors(&network)?)?;
    let other = Bundle::from_bytes(bytes, "upload");
    assert!(matches!(other, Err(BundleError::Invalid { .. })), "{other:?}");
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
    assert!(matches!(
        none.detector::<Flex>(&Default::default()),
        Err(BundleError::NoDetector { .. })
    ));
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
