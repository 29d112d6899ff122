use super::*;
use isomax_burn::metrics::OodMetrics;
use std::error::Error;
use std::fs;

type Tested = Result<(), Box<dyn Error>>;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scores").join(name)
}

fn refused(bytes: &[u8]) -> String {
    let parsed = parse(Path::new("a.txt"), bytes);
    parsed.map_or_else(|error| error.to_string(), |_| "read".to_owned())
}

#[test]
fn scores_that_32_bits_cannot_tell_apart() -> Tested {
    for name in ["near_one", "offset"] {
        let id = read(fixture(&format!("{name}.in.txt")))?;
        let ood = read(fixture(&format!("{name}.out.txt")))?;
        assert_eq!(id.len(), ood.len());
        let metrics = OodMetrics::from_scores(&id, &ood)?;
        assert_eq!((metrics.auroc, metrics.fpr_at_95_tpr), (1.0, 0.0), "{name}");
        assert_eq!(metrics.tnr_at_95_tpr, 1.0, "{name}");
        assert!((metrics.average_precision_in - 1.0).abs() < 1e-12, "{name}");
    }
    Ok(())
}

#[test]
fn the_content_says_what_a_file_is() -> Tested {
    let folder = tempfile::tempdir()?;
    for (name, ending) in [("bom", "txt"), ("npy_f4", "npy")] {
        let id = read(fixture(&format!("{name}.in.{ending}")))?;
        let ood = read(fixture(&format!("{name}.out.{ending}")))?;
        assert_eq!(OodMetrics::from_scores(&id, &ood)?.auroc, 5.0 / 6.0, "{name}");
    }
    // The endings are exchanged.
    let (text, array) = (folder.path().join("a.npy"), folder.path().join("b.txt"));
    fs::write(&text, "0.5\n")?;
    fs::write(&array, npy::one_dimensional(&[0.25]))?;
    assert_eq!((read(text)?, read(array)?), (vec![0.5], vec![0.25]));
    Ok(())
}

#[test]
fn what_is_wrong_is_named() -> Tested {
    let cases: [(&[u8], &str); 14] = [
        (b"0.9\nhigh\n", "a.txt:2: expected one score a line, found 'high'"),
        (b"0,5\n", "a.txt:1: expected one score a line, found '0,5'; write numbers with a decimal"),
        (b"\n\n", "a.txt: expected one score a line, found none"),
        (b"", "a.txt: expected scores, one a line or in a .npy file, but found an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "but found a pointer of Git LFS"),
        (b"<!DOCTYPE html>\n", "but found a page of HTML or XML, as servers send"),
        (b"PK\x03\x04", "but found a ZIP archive; unpack it first"),
        (b"MATLAB 5.0 MAT-file", "but found a MAT file of MATLAB; save the array alone: numpy"),
        (b"MATLAB 7.3 MAT-file", "but found a file of HDF5, such as MATLAB 7.3 writes; save"),
        (b"\x80\x04\x95", "but found a pickle of Python; if you trust it: numpy.save("),
        (b"\x1f\x8b", "but found a gzip file; unpack it first"),
        (&[0xff, 0xfe, 0], "but found bytes that are no text; write one score a line"),
        (&[0, 0, 0, 0, 0, 0, 0xe0, 0x3f], "but found bytes that are no text"),
        (b"\x93NUMPY\x01\x00", "a.txt: expected the header of a .npy file"),
    ];
    for (bytes, expected) in cases {
        let error = refused(bytes);
        assert!(error.starts_with("a.txt") && error.contains(expected), "{error}");
    }
    let none = refused(&npy::one_dimensional(&[]));
    assert_eq!(none, "a.txt: expected one score a line, found none");
    let mut npz = b"PK\x03\x04".to_vec();
    npz.resize(26, 0);
    npz.extend(b"\x0a\0\0\0scores.npy");
    assert!(refused(&npz).contains("but found an archive of NumPy (.npz); save the array alone"));
    let absent = read("absent.txt").err().ok_or("read")?.to_string();
    assert!(absent.starts_with("absent.txt: "), "{absent}");
    Ok(())
}

#[test]
fn no_file_is_too_large_to_be_refused() -> Tested {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("endless.txt");
    // Nothing of it is on the disk.
    fs::File::create(&path)?.set_len(1 << 40)?;
    let error = read(&path).err().ok_or("read")?;
    assert!(matches!(error, ScoreFileError::TooLarge { .. }), "{error}");
    Ok(())
}
