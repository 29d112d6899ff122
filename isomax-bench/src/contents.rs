//! What a file is that should have been another, told by how it begins: readers name it in their
//! errors.

use std::fmt;

/// A format that files of data, weights or scores turn out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    Empty,
    LfsPointer,
    Page,
    Level5Mat,
    Hdf5,
    Npy,
    Npz,
    Torch,
    Workbook,
    Zip,
    Gzip,
    Pickle,
}

/// How files of HDF5 begin, if no block of a user stands before.
const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";
/// Sizes of the blocks that are looked behind; MATLAB 7.3 has one of 512 bytes.
const USER_BLOCKS: [usize; 4] = [0, 512, 1024, 2048];
/// Bytes from the beginning that tell most.
pub(crate) const START: usize = 2048 + HDF5.len();

impl Contents {
    /// The format of a file that begins so, or nothing for one that is not known, such as text.
    pub fn of(start: &[u8]) -> Option<Self> {
        let starts = |with: &[u8]| start.starts_with(with);
        let is_hdf5 = |at: &usize| start.get(*at..).is_some_and(|rest| rest.starts_with(HDF5));
        Some(match start {
            [] => Self::Empty,
            _ if USER_BLOCKS.iter().any(is_hdf5) => Self::Hdf5,
            // The file may be cut before its signature.
            _ if starts(b"MATLAB 7.3 MAT-file") => Self::Hdf5,
            _ if starts(b"MATLAB 5.0 MAT-file") => Self::Level5Mat,
            _ if starts(b"\x93NUMPY") => Self::Npy,
            _ if starts(b"version https://git-lfs") => Self::LfsPointer,
            _ if starts(b"PK\x03\x04") => archive(start),
            _ if starts(b"\x1f\x8b") => Self::Gzip,
            [0x80, 2..=5, ..] => Self::Pickle,
            _ if is_page(start) => Self::Page,
            _ => return None,
        })
    }
}

/// What a ZIP archive holds, told by the name of its first file.
fn archive(start: &[u8]) -> Contents {
    let length = start.get(26..28).map_or(0, |size| u16::from_le_bytes([size[0], size[1]]));
    let name = start.get(30..30 + usize::from(length)).unwrap_or_default();
    let is_inside = |folder: &[u8]| name.starts_with(folder);
    if name.ends_with(b".npy") {
        Contents::Npz
    } else if name.ends_with(b"/data.pkl") || name == b"data.pkl" {
        Contents::Torch
    } else if name == b"[Content_Types].xml" || is_inside(b"xl/") || is_inside(b"_rels/") {
        Contents::Workbook
    } else {
        Contents::Zip
    }
}

fn is_page(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins =
        |with: &[u8]| start.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    [b"<!doctype".as_slice(), b"<html", b"<head", b"<?xml", b"<!--"].into_iter().any(begins)
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::LfsPointer => {
                "a pointer of Git LFS in place of the file, which `git lfs pull` fetches"
            }
            Self::Page => "a page of HTML or XML, as servers send in place of a file",
            Self::Level5Mat => "a MAT file of MATLAB",
            Self::Hdf5 => "a file of HDF5, such as MATLAB 7.3 writes",
            Self::Npy => "an array of NumPy (.npy)",
            Self::Npz => "an archive of NumPy (.npz)",
            Self::Torch => "a file of torch.save",
            Self::Workbook => "a workbook of a spreadsheet",
            Self::Zip => "a ZIP archive",
            Self::Gzip => "a gzip file",
            Self::Pickle => "a pickle of Python",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zip(name: &str) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.resize(26, 0);
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(name.bytes());
        bytes
    }

    #[test]
    fn formats_are_told_by_their_beginnings() {
        let matlab_7_3 = |length| {
            let mut bytes = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".to_vec();
            bytes.resize(length, 0);
            bytes.extend(HDF5);
            bytes
        };
        let mut padded = vec![b' '; 1024];
        padded.extend(HDF5);
        let cases: [(&[u8], Option<Contents>); 20] = [
            (b"", Some(Contents::Empty)),
            (b"version https://git-lfs.github.com/spec/v1\n", Some(Contents::LfsPointer)),
            (b"<!DOCTYPE html>", Some(Contents::Page)),
            (b"\xef\xbb\xbf\r\n <HTML>", Some(Contents::Page)),
            (b"MATLAB 5.0 MAT-file, written by Octave", Some(Contents::Level5Mat)),
            (&matlab_7_3(512), Some(Contents::Hdf5)),
            (&matlab_7_3(512)[..100], Some(Contents::Hdf5)),
            (HDF5, Some(Contents::Hdf5)),
            (&padded, Some(Contents::Hdf5)),
            (b"\x93NUMPY\x01\x00", Some(Contents::Npy)),
            (&zip("scores.npy"), Some(Contents::Npz)),
            (&zip("scores/data.pkl"), Some(Contents::Torch)),
            (&zip("[Content_Types].xml"), Some(Contents::Workbook)),
            (&zip("a.txt"), Some(Contents::Zip)),
            (b"PK\x03\x04", Some(Contents::Zip)),
            (b"\x1f\x8b\x08", Some(Contents::Gzip)),
            (b"\x80\x04\x95", Some(Contents::Pickle)),
            (b"\x80", None),
            (b"0.5\n", None),
            (b"<0.5", None),
        ];
        for (start, expected) in cases {
            assert_eq!(Contents::of(start), expected, "{start:?}");
        }
    }
}
