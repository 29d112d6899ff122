use super::*;
use image::RgbImage;
use std::error::Error;
use std::fs;

type Tested = Result<(), Box<dyn Error>>;

fn fill(folder: &Path, classes: usize, side: u32) -> Tested {
    for class in 0..classes {
        let folder = folder.join(format!("class-{class:03}"));
        fs::create_dir_all(&folder)?;
        RgbImage::new(side, side).save(folder.join("1.png"))?;
    }
    Ok(())
}

#[test]
fn what_is_absent_is_named_with_the_way_to_get_it() -> Tested {
    let folder = tempfile::tempdir()?;
    let data = DataFolder::new(folder.path());
    let error = data.id_set(PublishedSet::Cifar10, Split::Train).err().ok_or("read")?.to_string();
    for part in
        ["cifar10 is not in", "cifar-10-binary.tar.gz", "cifar10/train", "data fetch cifar10"]
    {
        assert!(error.contains(part), "{error}");
    }
    let error = data.ood(&OodSource::named("lsun-resize")).err().ok_or("read")?.to_string();
    assert!(error.contains("data fetch lsun-resize"), "{error}");
    let error = data.ood(&OodSource::named("noise")).err().ok_or("read")?.to_string();
    assert!(error.contains("NAME=FOLDER"), "{error}");
    Ok(())
}

#[test]
fn folders_of_images_must_have_the_classes() -> Tested {
    let folder = tempfile::tempdir()?;
    let data = DataFolder::new(folder.path());
    fill(&folder.path().join("cifar10/test"), 9, 32)?;
    let error = data.id_set(PublishedSet::Cifar10, Split::Test).err().ok_or("read")?.to_string();
    assert!(error.contains("expected 10 folders") && error.contains("found 9"), "{error}");
    fill(&folder.path().join("cifar10/test"), 10, 32)?;
    let set = data.id_set(PublishedSet::Cifar10, Split::Test)?;
    assert_eq!((set.images.len(), set.source), (10, "image folder"));
    assert!(folder.path().join(".cache").is_dir());
    fs::create_dir(folder.path().join("cifar10/test/class-010"))?;
    fs::write(folder.path().join("cifar10/test/README.txt"), "ten classes")?;
    RgbImage::new(300, 200).save(folder.path().join("cifar10/test/overview.png"))?;
    assert_eq!(data.id_set(PublishedSet::Cifar10, Split::Test)?.images.classes().len(), 10);
    fs::remove_file(folder.path().join("cifar10/test/class-007/1.png"))?;
    let error = data.id_set(PublishedSet::Cifar10, Split::Test).err().ok_or("read")?.to_string();
    assert!(error.contains("expected 10 folders") && error.contains("found 9"), "{error}");
    Ok(())
}

#[test]
fn images_of_any_size_are_brought_to_that_of_the_networks() -> Tested {
    let folder = tempfile::tempdir()?;
    let data = DataFolder::new(folder.path());
    fill(&folder.path().join("svhn/test"), 10, 28)?;
    assert_eq!(data.id_set(PublishedSet::Svhn, Split::Test)?.images.size(), [32, 32]);
    let textures = folder.path().join("textures");
    fs::create_dir(&textures)?;
    for (width, height) in [(300, 640), (640, 300), (32, 32), (7, 5)] {
        RgbImage::new(width, height).save(textures.join(format!("{width}.png")))?;
    }
    let images = data.ood(&OodSource::named("textures"))?.images;
    assert_eq!((images.size(), images.len()), ([32, 32], 4));
    assert!(format!("{data:?}").contains("jpeg: Safe"));
    Ok(())
}

#[test]
fn unknown_images_come_by_name_or_folder() -> Tested {
    let folder = tempfile::tempdir()?;
    let data = DataFolder::new(folder.path()).without_cache();
    fill(&folder.path().join("scenes"), 3, 32)?;
    fill(&folder.path().join("tiny-imagenet-200/test"), 2, 64)?;
    assert_eq!(data.ood(&OodSource::named("scenes"))?.images.len(), 3);
    assert_eq!(data.ood(&OodSource::named("tiny-imagenet"))?.images.size(), [32, 32]);
    let elsewhere: OodSource = format!("rooms={}/scenes", folder.path().display()).parse()?;
    assert_eq!((elsewhere.name.as_str(), data.ood(&elsewhere)?.images.len()), ("rooms", 3));
    assert_eq!(elsewhere.to_string().parse::<OodSource>()?, elsewhere);
    for name in ["", "id", "../evil", "a/b", ".hidden", "=data", "a b"] {
        assert!(name.parse::<OodSource>().is_err(), "{name}");
    }
    assert!(!folder.path().join(".cache").exists());
    Ok(())
}
