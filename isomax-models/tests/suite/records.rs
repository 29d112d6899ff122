//! Burn's own records: what loads, and what is refused and why.

use std::fs;

use burn::backend::Flex;
use burn::prelude::*;
use isomax_burn::HeadKind;
use isomax_models::DenseNetBcConfig;
use isomax_models::store;
use proptest::prelude::*;

use crate::support::{config, device, network, refused, values};

#[test]
fn records_come_back_and_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record");
    let device = device();
    let first = network::<Flex>();
    store::save_record(&first, &path).unwrap();
    let mut second = network::<Flex>();
    store::load_record(&mut second, &path).unwrap();
    assert!(values(&first) == values(&second));

    let mut deeper = DenseNetBcConfig { depth: 16, ..config() }.init::<Flex>(&device);
    let error = refused(store::load_record(&mut deeper, &path));
    assert!(error.contains("missing: ") && error.contains("block1.layer.1"), "{error}");
    let mut classes = DenseNetBcConfig { num_classes: 7, ..config() }.init::<Flex>(&device);
    let error = refused(store::load_record(&mut classes, &path));
    assert!(error.contains("prototypes [3, 4] (expected [7, 4])"), "{error}");
    let mut head = config().with_head(HeadKind::IsoMax).init::<Flex>(&device);
    let error = refused(store::load_record(&mut head, &path));
    assert!(error.contains("classifier.IsoMax"), "{error}");

    let bytes = fs::read(&path).unwrap();
    let first_type = bytes.windows(4).position(|window| window == b"\xa3F32").unwrap();
    for other in [b"F64", b"I32", b"F16"] {
        let mut changed = bytes.clone();
        changed[first_type + 1..first_type + 4].copy_from_slice(other);
        fs::write(&path, changed).unwrap();
        let error = refused(store::load_record(&mut second, &path));
        assert!(error.contains("dtype"), "{error}");
    }
    // What Burn itself panics at, and what would fill the memory or the stack.
    let id = bytes.windows(4).position(|window| window == b"\xa2id\xad").unwrap() + 3;
    let long_id = [&bytes[..id], b"\xd9\x24", &[b'0'; 36], &bytes[id + 14..]].concat();
    fs::write(&path, long_id).unwrap();
    let error = refused(store::load_record(&mut second, &path));
    assert!(error.contains("id '0000"), "{error}");
    let many = [b"\x81\xa4item\xdd\x00\xff\xff\xff".as_slice(), &[0xc0; 0xff_ffff]].concat();
    let deep = [b"\x81\xa4item".as_slice(), &[0x91; 100_000]].concat();
    for hostile in [many, deep] {
        fs::write(&path, hostile).unwrap();
        let error = refused(store::load_record(&mut second, &path));
        assert!(error.contains("expected a full-precision record of Burn"), "{error}");
    }
    for length in [0, 1, 50, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = refused(store::load_record(&mut second, &path));
        assert!(error.contains("record: expected a full-precision record of Burn"), "{error}");
    }
    assert!(values(&first) == values(&second));
}

#[test]
fn records_of_a_network_that_diverged_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record");
    for (value, of_variance, expected) in
        [(f32::NAN, false, "expected finite weights"), (-1.0, true, "not negative")]
    {
        let mut lost = network::<Flex>();
        let other = Tensor::<Flex, 1>::full(lost.bn1.weight.dims(), value, &device());
        match of_variance {
            true => lost.bn1.running_var = burn::module::RunningState::new(other),
            false => lost.bn1.weight = burn::module::Param::from_tensor(other),
        }
        store::save_record(&lost, &path).unwrap();
        let mut kept = network::<Flex>();
        let before = values(&kept);
        let error = refused(store::load_record(&mut kept, &path));
        assert!(error.contains(expected) && error.contains("bn1."), "{error}");
        assert!(before == values(&kept));
    }
}

/// A bias that the module has no room for is not dropped in silence.
#[test]
fn records_with_more_are_refused() {
    use isomax_models::layers::Conv1x1Config;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record");
    let device = device();
    let config = Conv1x1Config::new([2, 3]);
    let with_bias = config.clone().with_bias(true).init::<Flex>(&device);
    let mut without = config.init::<Flex>(&device);
    store::save_record(&with_bias, &path).unwrap();
    let error = refused(store::load_record(&mut without, &path));
    assert!(error.ends_with("1 unexpected: bias"), "{error}");
    let mut with_bias = with_bias;
    store::save_record(&without, &path).unwrap();
    let error = refused(store::load_record(&mut with_bias, &path));
    assert!(error.ends_with("1 missing: bias"), "{error}");
}

/// What Burn's own recorder writes loads, and the other way round.
#[test]
fn records_are_those_of_burn() {
    use burn::record::{FullPrecisionSettings, NamedMpkFileRecorder};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.mpk");
    let recorder = NamedMpkFileRecorder::<FullPrecisionSettings>::new();
    let first = network::<Flex>();
    // A clone of a network that was never used would draw its own weights.
    values(&first);
    first.clone().save_file(&path, &recorder).unwrap();
    let mut second = network::<Flex>();
    store::load_record(&mut second, &path).unwrap();
    assert!(values(&first) == values(&second));
    store::save_record(&first, &path).unwrap();
    let third = network::<Flex>().load_file(&path, &recorder, &device()).unwrap();
    assert!(values(&first) == values(&third));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damage_to_records_never_panics(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged");
        store::save_record(&network::<Flex>(), &path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        fs::write(&path, bytes).unwrap();
        let _ = store::load_record(&mut network::<Flex>(), &path);
    }
}
