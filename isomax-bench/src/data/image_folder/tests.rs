use super::*;
use image::RgbImage;
use std::error::Error;

type Tested = Result<(), Box<dyn Error>>;

/// 64 × 48 pixels.
const JPEG: &[u8] = include_bytes!("../../../tests/fixtures/images/control.jpg");

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Tested {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().ok_or("no folder")?)?;
    Ok(fs::write(path, bytes)?)
}

fn save(folder: &Path, name: &str, [height, width]: [u32; 2], red: u8) -> Tested {
    let image = RgbImage::from_pixel(width, height, image::Rgb([red, 0, 0]));
    let mut bytes = io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png)?;
    write(folder, name, bytes.get_ref())
}

fn refused(folder: &Path) -> String {
    Images::from_folder(folder).map_or_else(|error| error.to_string(), |_| "read".to_owned())
}

/// The red of the first pixel of each image.
fn reds(images: &Images) -> Vec<u8> {
    images.bytes.iter().step_by(images.image_len()).copied().collect()
}

/// What a warning tells of a folder.
fn warning(folder: &Path) -> Result<Option<String>, ImageFolderError> {
    let listing = Listing::of(folder)?;
    let (_, broken) = listing.decode(&FolderOptions::default())?;
    Ok(listing.warning(&broken))
}

#[test]
fn folders_are_classes() -> Tested {
    let folder = tempfile::tempdir()?;
    save(folder.path(), "dog/b.png", [2, 3], 2)?;
    save(folder.path(), "cat/deep/a.png", [2, 3], 1)?;
    save(folder.path(), "dog/a.PNG", [2, 3], 3)?;
    fs::create_dir(folder.path().join("empty"))?;
    #[cfg(unix)] // a link that leads back is no way to more images
    std::os::unix::fs::symlink(folder.path().join("cat"), folder.path().join("cat/deep/back"))?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path(), folder.path().join("all"))?;
    let images = Images::from_folder(folder.path())?;
    assert_eq!(images.classes, ["cat", "dog"]);
    assert_eq!(images.labels, [0, 1, 1]);
    assert_eq!(images.size, [2, 3]);
    assert_eq!(reds(&images), [1, 3, 2]);
    let dogs = Images::from_folder(folder.path().join("dog"))?;
    assert_eq!((dogs.len(), dogs.labels.as_slice()), (2, [0, 0].as_slice()));
    let told = warning(folder.path())?.ok_or("no warning")?;
    assert!(told.ends_with(": 1 folder without images passed over (empty)"), "{told}");
    Ok(())
}

#[test]
fn what_lies_beside_the_classes_is_none() -> Tested {
    let folder = tempfile::tempdir()?;
    for class in 0..10 {
        save(folder.path(), &format!("class{class}/1.png"), [2, 2], class)?;
    }
    write(folder.path(), "README.txt", b"Ten classes.")?;
    write(folder.path(), "class3/Thumbs.db", b"\xd0\xcf\x11\xe0")?;
    write(folder.path(), "class4/class4_boxes.txt", b"1.png\t0\t0\t1\t1")?;
    assert_eq!(Images::from_folder(folder.path())?.labels, (0..10).collect::<Vec<u16>>());
    save(folder.path(), "overview.png", [40, 50], 9)?;
    save(folder.path(), "a.png", [2, 2], 9)?;
    let images = Images::from_folder(folder.path())?;
    assert_eq!((images.classes.len(), images.len()), (10, 10));
    let told = warning(folder.path())?.ok_or("no warning")?;
    for part in [
        ": 3 files passed over (README.txt, Thumbs.db, class4_boxes.txt), ",
        "2 images beside the folders of classes passed over (a.png, overview.png)",
    ] {
        assert!(told.contains(part), "{told}");
    }
    // Here it is the folder that is astray.
    let flat = tempfile::tempdir()?;
    for image in 0..3 {
        save(flat.path(), &format!("{image}.png"), [2, 2], image)?;
    }
    save(flat.path(), "more/3.png", [2, 2], 3)?;
    let images = Images::from_folder(flat.path())?;
    assert_eq!((images.classes.len(), reds(&images)), (1, vec![0, 1, 2, 3]));
    assert_eq!(warning(flat.path())?, None);
    Ok(())
}

#[test]
fn broken_images_are_left_out() -> Tested {
    let folder = tempfile::tempdir()?;
    save(folder.path(), "cat/1.png", [2, 2], 1)?;
    save(folder.path(), "cat/3.png", [2, 2], 3)?;
    save(folder.path(), "dog/1.png", [2, 2], 4)?;
    save(folder.path(), "dog/3.png", [2, 2], 6)?;
    write(folder.path(), "cat/2.png", b"")?;
    write(folder.path(), "dog/2.jpg", b"<html>404</html>")?;
    write(folder.path(), "fox/1.png", b"\x89PNG\r\n\x1a\nhalf")?;
    let images = Images::from_folder(folder.path())?;
    assert_eq!(
        (images.labels.as_slice(), reds(&images)),
        ([0, 0, 1, 1].as_slice(), vec![1, 3, 4, 6])
    );
    // Labels mean what they would mean if all were whole.
    assert_eq!(images.classes, ["cat", "dog", "fox"]);
    let told = warning(folder.path())?.ok_or("no warning")?;
    assert!(
        told.contains(
            "3 images broken and left out (cat/2.png: expected an image, but it is empty"
        ),
        "{told}"
    );
    assert!(told.contains("dog/2.jpg: expected an image, but it is an HTML page"), "{told}");

    write(folder.path(), "fox/2.png", b"")?;
    assert_eq!(Images::from_folder(folder.path())?.len(), 4);
    write(folder.path(), "fox/3.png", b"")?;
    let error = refused(folder.path());
    assert!(error.contains("5 of 9 images cannot be read; "), "{error}");
    assert!(error.contains("2.png: expected an image, but it is empty"), "{error}");
    Ok(())
}

#[test]
fn what_holds_no_images_is_named() -> Tested {
    let folder = tempfile::tempdir()?;
    assert!(refused(&folder.path().join("absent")).contains("absent: No such file"));
    assert!(refused(folder.path()).ends_with("but found none"));
    write(folder.path(), "a/notes.txt", b"text")?;
    assert!(refused(folder.path()).ends_with("but found none among 1 file"));
    assert!(refused(&folder.path().join("a/notes.txt")).contains("notes.txt: "));
    write(folder.path(), "a/1.jpg", b"")?;
    let error = refused(folder.path());
    assert!(error.contains("1 of 1 images cannot be read"), "{error}");
    let missing = FolderOptions { jpeg: JpegDecoder::Libjpeg, ..Default::default() };
    let missing = Images::from_folder_with(folder.path(), &missing);
    let error = missing.err().ok_or("read")?.to_string();
    assert_eq!(error.contains("--features libjpeg"), !cfg!(feature = "libjpeg"), "{error}");
    Ok(())
}

#[test]
fn sizes_must_agree_unless_there_is_a_rule() -> Tested {
    let folder = tempfile::tempdir()?;
    save(folder.path(), "a.png", [2, 3], 1)?;
    save(folder.path(), "b.png", [4, 3], 1)?;
    write(folder.path(), "c", JPEG)?;
    let error = refused(folder.path());
    assert!(error.contains(": expected 3 × 2 pixels as in"), "{error}");
    let options = FolderOptions { side: Some(4), ..Default::default() };
    let images = Images::from_folder_with(folder.path(), &options)?;
    assert_eq!((images.size, images.len()), ([4, 4], 3));
    assert!(images.image(0).chunks_exact(3).all(|pixel| pixel == [1, 0, 0]));
    Ok(())
}
