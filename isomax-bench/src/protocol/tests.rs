use std::error::Error;

use image::RgbImage;
use isomax_burn::HeadKind;

use super::*;
use crate::analyze::tests::run;
use crate::results::Evaluation;

type Tested = Result<(), Box<dyn Error>>;

#[test]
fn protocols_that_come_along_are_sound() -> Tested {
    for name in Protocol::names() {
        let protocol = Protocol::find(name)?;
        assert_eq!(protocol.name, name);
        assert_eq!(protocol.of(&[Role::Test]).count(), 1, "{name}");
        let ood: usize = protocol.of(&[Role::Near, Role::Far]).map(|set| set.images).sum();
        assert!(ood > 40_000, "{name}: {ood}");
    }
    let error = Protocol::find("openood").err().ok_or("found")?.to_string();
    assert!(error.contains("openood-v1.5-cifar10, "), "{error}");
    Ok(())
}

#[test]
fn damaged_protocols_are_errors() -> Tested {
    let whole = include_str!("../../protocols/openood-v1.5-cifar10.toml");
    for (from, to, expected) in [
        ("images = 9000", "images = -1", "images"),
        ("role = \"far\"", "role = \"away\"", "away"),
        ("role = \"test\"", "role = \"near\"", "one set of the role test"),
        ("\"f907cb13024ba0fd\"", "\"f907\"", "16 to 64 digits"),
        ("name = \"mnist\"", "name = \"svhn\"", "'svhn', or two have"),
        ("std = [0.2470,", "std = [0.0,", "positive deviations"),
        ("image_size = 32", "image_size = 0", "0"),
        ("id_data = \"cifar10\"", "id_data = \"cifar11\"", "cifar11"),
    ] {
        assert!(whole.contains(from), "{from}");
        let error = Protocol::parse(&whole.replacen(from, to, 1), Path::new("a.toml"));
        let error = error.err().ok_or_else(|| format!("{to} was read"))?.to_string();
        assert!(
            error.starts_with("a.toml: expected a protocol") && error.contains(expected),
            "{error}"
        );
    }
    Ok(())
}

fn write_images(folder: &Path, count: u8) -> Tested {
    std::fs::create_dir_all(folder)?;
    for number in 0..count {
        let image = RgbImage::from_pixel(32, 32, image::Rgb([number, 7, 9]));
        image.save(folder.join(format!("{number}.png")))?;
    }
    Ok(())
}

/// A folder with a training set, and a protocol of three sets, one of which has a list.
fn prepared() -> Result<(tempfile::TempDir, Protocol), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let here = folder.path();
    for split in ["train", "test"] {
        for class in 0..10 {
            write_images(&here.join(format!("cifar10/{split}/{class}")), 1)?;
        }
    }
    write_images(&here.join("near/images"), 5)?;
    write_images(&here.join("far"), 3)?;
    let list = "images/0.png -1\nimages/3.png -1\n";
    // With line ends of another system, as copies have.
    std::fs::write(here.join("near/near.txt"), list.replace('\n', "\r\n"))?;
    let sum: String = <sha2::Sha256 as sha2::Digest>::digest(list)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let text = format!(
        "name = \"small\"\ntitle = \"Small\"\nid_data = \"cifar10\"\nimage_size = 32\nresize = 32\n\
         [normalization]\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n\
         [[sets]]\nname = \"cifar10\"\nrole = \"test\"\nimages = 10\n\
         [[sets]]\nname = \"near\"\nrole = \"near\"\nimages = 2\nlist = \"near.txt\"\nsha256 = \"{}\"\n\
         [[sets]]\nname = \"far\"\nrole = \"far\"\nimages = 9\n\
         [[sets]]\nname = \"farther\"\nrole = \"far\"\nimages = 9\n",
        &sum[..16]
    );
    Ok((folder, Protocol::parse(&text, Path::new("small.toml"))?))
}

fn found(images: &ProtocolImages) -> Vec<(&str, Status, usize)> {
    let of = |found: &FoundSet| (found.status, found.images.images.len());
    images.found.iter().map(|found| (found.set.name.as_str(), of(found).0, of(found).1)).collect()
}

#[test]
fn sets_are_told_by_their_lists() -> Tested {
    let (folder, protocol) = prepared()?;
    let data = crate::data::DataFolder::new(folder.path()).without_cache();
    let images = ProtocolImages::find(&protocol, &data, &Places::default())?;
    let expected = [
        ("cifar10", Status::Exact, 10),
        ("near", Status::Exact, 2),
        ("far", Status::SameDistribution, 3),
    ];
    assert_eq!(found(&images), expected);
    assert_eq!(images.missing, ["farther, 9 images: give --set farther=FOLDER"]);

    // Another list, an image of it that is not there, and images of something else.
    std::fs::write(folder.path().join("near/near.txt"), "images/0.png -1\n")?;
    let places = Places {
        stand_ins: vec![format!("far={}/far", folder.path().display()).parse()?],
        ..Places::default()
    };
    let images = ProtocolImages::find(&protocol, &data, &places)?;
    let expected = [
        ("cifar10", Status::Exact, 10),
        ("near", Status::SameDistribution, 5),
        ("far", Status::StandIn, 3),
    ];
    assert_eq!(found(&images), expected);

    let places = Places { sets: vec!["far=/no/such/folder".parse()?], ..Places::default() };
    assert!(matches!(ProtocolImages::find(&protocol, &data, &places), Err(ProtocolError::Data(_))));
    Ok(())
}

#[test]
fn a_damaged_set_is_an_error_and_not_a_missing_one() -> Tested {
    let (folder, mut protocol) = prepared()?;
    let data = crate::data::DataFolder::new(folder.path()).without_cache();
    protocol.sets[3].name = "cifar100".to_owned();
    let images = ProtocolImages::find(&protocol, &data, &Places::default())?;
    assert_eq!(images.missing, ["cifar100, 9 images: give --set cifar100=FOLDER"]);
    std::fs::write(folder.path().join("cifar-100-binary.tar.gz"), "cut short")?;
    let found = ProtocolImages::find(&protocol, &data, &Places::default());
    assert!(matches!(found, Err(ProtocolError::Data(_))));
    Ok(())
}

#[test]
fn stand_ins_count_in_no_mean() -> Tested {
    let (folder, protocol) = prepared()?;
    let data = crate::data::DataFolder::new(folder.path()).without_cache();
    let stand_in = format!("far={}/far", folder.path().display()).parse()?;
    let places = Places { stand_ins: vec![stand_in], ..Places::default() };
    let images = ProtocolImages::find(&protocol, &data, &places)?;
    let evaluations: Vec<Evaluation> = [1, 3]
        .map(|wrong| run(HeadKind::IsoMaxPlus, 1, &[("near", wrong), ("far", 4)]).evaluation)
        .into();
    let all = rows(&images, &evaluations);
    let row = all.iter().find(|row| row.method == "MDS").ok_or("no row")?;
    assert_eq!(row.near.iter().map(|[auroc, _]| *auroc).collect::<Vec<_>>(), [0.75, 0.25]);
    assert_eq!((row.far.len(), row.sets.len()), (0, 2));
    assert_eq!(row.sets[1].0, "far (stand-in)");
    let of = |spread| table("Small", &images, &evaluations, spread);
    // The deviation of 75 and 25: √(2 · 25²) and 25.
    assert!(of(Spread::Sample).contains("| 50.00 ± 35.36 /"), "{}", of(Spread::Sample));
    assert!(of(Spread::Population).contains("| 50.00 ± 25.00 /"));
    assert!(of(Spread::Sample).contains("farther, 9 images: give --set farther=FOLDER"));
    assert!(of(Spread::Sample).contains("stand-in"));
    Ok(())
}
