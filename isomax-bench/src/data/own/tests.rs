use super::*;
use image::RgbImage;
use std::error::Error;

type Tested = Result<(), Box<dyn Error>>;

/// Writes an image that differs from those of other numbers.
fn save(folder: &Path, name: &str, number: u8) -> Tested {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().ok_or("no folder")?)?;
    Ok(RgbImage::from_fn(6, 5, |x, y| image::Rgb([number, x as u8, y as u8])).save(path)?)
}

/// Folders of so many images for each class of each split, all different.
fn fill(folder: &Path, splits: &[(&str, &[(&str, u8)])]) -> Tested {
    let mut number = 0;
    for (split, classes) in splits {
        for (class, count) in *classes {
            for index in 0..*count {
                save(&folder.join(split), &format!("{class}/{index}.png"), number)?;
                number += 1;
            }
        }
    }
    Ok(())
}

/// How many files each of two classes has.
fn counts_of(files: &[(PathBuf, u16)]) -> Vec<usize> {
    let labels: Vec<u16> = files.iter().map(|(_, label)| *label).collect();
    counts(&labels, 2)
}

#[test]
fn a_class_whose_images_cannot_be_read_is_an_error() -> Tested {
    let folder = tempfile::tempdir()?;
    let parts: &[(&str, u8)] = &[("ants", 4), ("bees", 9)];
    fill(folder.path(), &[("train", parts), ("test", parts)])?;
    for index in 0..4_u8 {
        // Less than half of all, and all of its class.
        let path = folder.path().join(format!("train/ants/{index}.png"));
        fs::write(path, format!("no image {index}"))?;
    }
    let data = crate::data::DataFolder::new(folder.path()).without_cache();
    let error = data.own_set(folder.path(), 1, false).expect_err("no ants").to_string();
    assert!(error.contains("the class ants has 0 images for training"), "{error}");
    Ok(())
}

#[track_caller]
fn error_of(path: &Path) -> String {
    OwnSet::find(path, 1).expect_err("refused").to_string()
}

fn names(files: &[(PathBuf, u16)]) -> Vec<(String, u16)> {
    let name = |file: &PathBuf| {
        let folder = file.parent().and_then(Path::file_name).unwrap_or_default();
        let file = file.file_name().unwrap_or_default();
        format!("{}/{}", folder.to_string_lossy(), file.to_string_lossy())
    };
    files.iter().map(|(file, label)| (name(file), *label)).collect()
}

#[test]
fn a_folder_of_classes_is_parted_by_class_and_seed() -> Tested {
    let folder = tempfile::tempdir()?;
    fill(folder.path(), &[("", &[("ants", 10), ("bees", 20)])])?;
    let set = OwnSet::find(folder.path(), 7)?;
    assert_eq!(set.train.classes, ["ants", "bees"]);
    assert_eq!(counts_of(&set.train.files), [8, 16]);
    assert_eq!(counts_of(&set.test.files), [2, 4]);
    assert_eq!(OwnSet::find(folder.path(), 7)?, set);
    assert_ne!(OwnSet::find(folder.path(), 8)?, set);
    // A copy would be in both parts one day.
    fs::copy(folder.path().join("ants/3.png"), folder.path().join("ants/copy.png"))?;
    let again = OwnSet::find(folder.path(), 7)?;
    assert_eq!(again.train.files.len() + again.test.files.len(), 30);
    Ok(())
}

#[test]
fn splits_are_taken_as_they_lie() -> Tested {
    let folder = tempfile::tempdir()?;
    let classes: &[(&str, u8)] = &[("ants", 3), ("bees", 2)];
    fill(folder.path(), &[("Train", classes), ("val", classes)])?;
    let set = OwnSet::find(folder.path(), 1)?;
    assert_eq!((set.held_out.len(), set.test.files.len()), (0, 5));
    assert_eq!(names(&set.test.files)[4], ("bees/1.png".to_owned(), 1));
    let folder = tempfile::tempdir()?;
    fill(folder.path(), &[("train", classes), ("validation", classes), ("test", classes)])?;
    let set = OwnSet::find(folder.path(), 1)?;
    assert_eq!((set.train.files.len(), set.held_out.len(), set.test.files.len()), (5, 5, 5));
    Ok(())
}

#[test]
fn lists_name_files_labels_and_splits() -> Tested {
    let folder = tempfile::tempdir()?;
    for number in 0..12 {
        save(folder.path(), &format!("{number}.png"), number)?;
    }
    let list = folder.path().join("photos.csv");
    let lines = |of: &dyn Fn(u8) -> String| (0..12).map(of).collect::<String>();
    // Labels are numbers in order, whatever their digits.
    let label = |number: u8| if number.is_multiple_of(2) { 10 } else { 9 };
    let plain = lines(&|n| format!("{n}.png, {}\n", label(n)));
    fs::write(&list, format!("\u{feff}path,Label\n{plain}"))?;
    let set = OwnSet::find(&list, 1)?;
    assert_eq!(set.train.classes, ["9", "10"]);
    assert_eq!((set.train.files.len(), set.test.files.len()), (10, 2));
    let split = |n: u8| if n < 8 { "train" } else { "test" };
    let with_splits = lines(&|n| format!("{n}.png,{},{}\n", label(n), split(n)));
    fs::write(&list, format!("path,label,split\n{with_splits}"))?;
    let set = OwnSet::find(&list, 1)?;
    assert_eq!((set.train.files.len(), set.test.files.len()), (8, 4));

    for (text, expected) in [
        ("file,label\n0.png,a\n", "line 1: expected the columns path and label"),
        ("path,label\n", "expected one line for each image, found none"),
        ("path,label\n0.png,\n", "line 2: expected a path and a label"),
        (
            "path,label,split\n0.png,a,later\n",
            "line 2: expected the split train, val or test, found 'later'",
        ),
        ("path,label\n0.png,a\n99.png,b\n98.png,b\n", "2 of 3 files are not there, the first is"),
        ("path,label\n0.png,a\n0.png,b\n", "0.png is named twice"),
        ("path,label\n0.png,a\n1.png,a\n2.png,a\n", "found one class, a"),
        (
            "path,label,split\n0.png,a,train\n1.png,b,train\n",
            "expected lines of the split test or val",
        ),
    ] {
        fs::write(&list, text)?;
        let error = error_of(&list);
        assert!(error.contains("photos.csv") && error.contains(expected), "{error}");
    }
    fs::write(&list, b"path,label\n\xff\xfe,b\n")?;
    assert!(error_of(&list).contains("expected a CSV file in UTF-8"));
    Ok(())
}

#[test]
fn what_cannot_be_learned_is_named() -> Tested {
    let folder = tempfile::tempdir()?;
    let new = |name: &str, splits: &[(&str, &[(&str, u8)])]| -> Result<PathBuf, Box<dyn Error>> {
        let path = folder.path().join(name);
        fill(&path, splits)?;
        Ok(path)
    };
    let two: &[(&str, u8)] = &[("ants", 3), ("bees", 3)];
    for (path, expected) in [
        (new("one-class", &[("", &[("ants", 9)])])?, "found one class, ants"),
        (
            new("one-image", &[("", &[("ants", 9), ("bees", 1)])])?,
            "the class bees has 0 images for training, and needs 2",
        ),
        (
            new("few", &[("train", &[("ants", 9), ("bees", 1)]), ("test", two)])?,
            "the class bees has 1 image for training",
        ),
        (new("no-test", &[("train", two)])?, "expected 'test' or 'val' beside the folder 'train'"),
        (
            new("others", &[("train", two), ("test", &[("ants", 3), ("wasps", 3)])])?,
            "the split 'test' has the classes [\"ants\", \"wasps\"], 'train' has [\"ants\", \"bees\"]",
        ),
    ] {
        let error = error_of(&path);
        assert!(error.contains(expected), "{error}");
    }
    let empty = new("empty", &[("train", two), ("test", two)])?;
    fs::create_dir(empty.join("train/wasps"))?;
    assert!(error_of(&empty).contains("the classes wasps have no images"));
    let same = new("same", &[("train", two), ("test", two)])?;
    fs::copy(same.join("train/ants/1.png"), same.join("test/ants/copy.png"))?;
    let error = error_of(&same);
    assert!(
        error.starts_with("1 image is in two splits, such as") && error.contains("copy.png"),
        "{error}"
    );
    let twice = new("twice", &[("", &[("ants", 9), ("bees", 9)])])?;
    fs::copy(twice.join("ants/1.png"), twice.join("bees/copy.png"))?;
    assert!(error_of(&twice).starts_with("1 image is in two classes, such as"));
    let no_train = new("no-train", &[("val", two), ("test", two)])?;
    assert!(error_of(&no_train).contains("expected 'train' beside"));
    let absent = folder.path().join("absent");
    assert!(error_of(&absent).contains("absent"));
    Ok(())
}
