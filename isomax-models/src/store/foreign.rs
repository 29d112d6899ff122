//! Files that are taken for weights and hold none: what they are, and what to do about them.

use std::path::Path;

use super::error::StoreError;

/// What a file holds in place of weights.
#[derive(Debug)]
pub(super) struct Foreign {
    found: String,
    advice: &'static str,
}

const FETCH: &str = "fetch the file again, by the link to the file itself";
const UNPACK: &str = "unpack it, and give the weights that lie in it";
const CONVERT: &str =
    "load it in Python, and save its weights with torch.save(model.state_dict(), path)";

/// How formats begin that other libraries and programs write: the place, the bytes, the name, and what
/// to do.
const MAGICS: [(usize, &[u8], &str, &str); 21] = [
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it", CONVERT),
    (0, b"\x93NUMPY", "an array of NumPy (.npy)", CONVERT),
    (0, b"GGUF", "a GGUF file of llama.cpp", CONVERT),
    (4, b"TFL3", "a network of TensorFlow Lite", CONVERT),
    (0, b"\x08\x01\x12", "a SavedModel of TensorFlow", CONVERT),
    (0, b"MATLAB 5.0", "a file of MATLAB", CONVERT),
    (0, b"NRUB", "a burnpack file of Burn", "load it with burn-store, and save it as safetensors"),
    (0, b"\x1f\x8b", "a file compressed by gzip", UNPACK),
    (0, b"BZh", "a file compressed by bzip2", UNPACK),
    (0, b"\xfd7zXZ\0", "a file compressed by xz", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a file compressed by Zstandard", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip", UNPACK),
    (0, b"Rar!", "a RAR archive", UNPACK),
    (
        257,
        b"ustar",
        "a tar archive",
        "unpack it, and give the weights that lie in it; if it is itself a file of PyTorch before \
         0.1.10, load it in Python, and save with torch.save(state_dict, path)",
    ),
    (0, b"\x80\x02", PICKLE, CONVERT),
    (0, b"\x80\x03", PICKLE, CONVERT),
    (0, b"\x80\x04", PICKLE, CONVERT),
    (0, b"\x80\x05", PICKLE, CONVERT),
    (0, b"(dp", PICKLE, CONVERT),
    (0, b"\xff\xfe", "text in UTF-16", FETCH),
    (0, b"\xfe\xff", "text in UTF-16", FETCH),
];
const PICKLE: &str = "a bare pickle, which torch.save did not write";

impl Foreign {
    fn new(found: impl Into<String>, advice: &'static str) -> Self {
        Self { found: found.into(), advice }
    }

    /// Names what a file holds by its first bytes, which are those of no weights.
    pub fn of(head: &[u8]) -> Self {
        if head.is_empty() {
            return Self::new("an empty file", FETCH);
        }
        if head.iter().all(|byte| *byte == 0) {
            return Self::new("zeros, as a download that broke off leaves them", FETCH);
        }
        let begins =
            |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
        if let Some((.., found, advice)) = MAGICS.iter().find(|(at, magic, ..)| begins(*at, magic))
        {
            return Self::new(*found, advice);
        }
        if is_onnx(head) {
            return Self::new("a network in ONNX", CONVERT);
        }
        if is_torch7(head) {
            return Self::new("a file of Torch 7, for Lua", CONVERT);
        }
        Self::of_text(head)
    }

    fn of_text(head: &[u8]) -> Self {
        // Pages in old encodings are no UTF-8 throughout.
        let text = String::from_utf8_lossy(head);
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let lower = text.to_ascii_lowercase();
        let html = ["<!doctype html", "<html", "<head", "<body"];
        if lower.starts_with("version https://git-lfs")
            || lower.starts_with("version https://hawser")
        {
            return Self::new(
                "a Git LFS pointer, which stands for the weights",
                "run `git lfs pull` where it was cloned",
            );
        }
        if lower.starts_with('<') && html.iter().any(|tag| lower.contains(tag)) {
            return Self::new("a web page (HTML), such as a log-in or an error", FETCH);
        }
        if lower.starts_with('<') {
            return Self::new("XML, such as the error of a server", FETCH);
        }
        if !is_text(head) {
            let start: Vec<String> =
                head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            return Self::new(
                format!("bytes of no format that is known ({} …)", start.join(" ")),
                CONVERT,
            );
        }
        if lower.starts_with('{') && lower.contains("\"weight_map\"") {
            return Self::new(
                "the index of weights that lie in several files",
                "save them in one with safetensors.torch.save_file(model.state_dict(), path)",
            );
        }
        if lower.starts_with(['{', '[']) {
            return Self::new("JSON, such as the error of a server or a configuration", FETCH);
        }
        let line: String = text.lines().next().unwrap_or_default().chars().take(60).collect();
        Self::new(format!("text that begins with '{line}'"), FETCH)
    }

    /// Names what a ZIP archive holds by the names in it, which are none of `torch.save`.
    pub fn of_archive<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let ending =
            |ends: &[&str]| names.clone().find(|name| ends.iter().any(|end| name.ends_with(end)));
        if names.clone().next().is_none() {
            return Self::new("an empty ZIP archive", FETCH);
        }
        if names.clone().all(|name| name.ends_with(".npy")) {
            return Self::new("arrays of NumPy (.npz)", CONVERT);
        }
        if ending(&["model.weights.h5"]).is_some() {
            return Self::new("a network of Keras", CONVERT);
        }
        if ending(&["serialized_exported_program.json", "archive_format"]).is_some() {
            return Self::new(
                "a program of torch.export",
                "save its weights in Python: \
                 torch.save(torch.export.load(path).state_dict, new_path)",
            );
        }
        if ending(&[".data/extern_modules"]).is_some() {
            return Self::new("a package of torch.package", CONVERT);
        }
        match ending(&[".pth", ".pt", ".tar", ".ckpt", ".th", ".bin", ".safetensors", ".mpk"]) {
            Some(name) => Self::new(format!("a ZIP archive with {name} in it"), UNPACK),
            None => Self::new("a ZIP archive without data.pkl, which torch.save writes", CONVERT),
        }
    }

    /// A network that `torch.jit.save` wrote, whose code no one but PyTorch runs.
    pub fn script() -> Self {
        Self::new(
            "a TorchScript archive of torch.jit.save",
            "save its weights in Python: torch.save(torch.jit.load(path).state_dict(), new_path)",
        )
    }

    /// A record of Burn where weights by PyTorch's names are wanted.
    pub fn record() -> Self {
        Self::new("a record of Burn", "load it with store::load_record")
    }

    pub fn error(self, path: &Path) -> StoreError {
        let Self { found, advice } = self;
        StoreError::NotWeights { path: path.to_owned(), found, advice: advice.to_owned() }
    }
}

/// A message of Protocol Buffers that begins with a version and a text or a graph.
fn is_onnx(head: &[u8]) -> bool {
    matches!(head, [0x08, 1..=32, 0x12 | 0x1a | 0x22 | 0x3a | 0x42, ..])
}

/// A number that stands for a table or an object, and somewhere the class of an object.
fn is_torch7(head: &[u8]) -> bool {
    matches!(head, [3 | 4, 0, 0, 0, ..]) && head.windows(6).any(|window| window == b"torch.")
}

/// Whether bytes are text, of which the last character may be cut off.
fn is_text(head: &[u8]) -> bool {
    let text = match str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    text.chars().all(|char| char.is_whitespace() || !char.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named() {
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let page = b"\xef\xbb\xbf\n<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\xe9";
        for (head, found) in [
            (b"".as_slice(), "an empty file"),
            (&[0; 100], "zeros"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer"),
            (page, "a web page"),
            (b"<!-- of the proxy --><html>", "a web page"),
            (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "XML"),
            (b"{\"error\": \"not found\"}", "JSON"),
            (b"{\"metadata\": {}, \"weight_map\": {}}", "the index of weights"),
            (b"Not Found", "text that begins with 'Not Found'"),
            (&"caf\u{e9}".as_bytes()[..4], "text that begins"),
            (b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file"),
            (b"\x08\x07\x12\x07pytorch", "a network in ONNX"),
            (b"\x08\x01\x12\x00", "a SavedModel"),
            (b"\x93NUMPY\x01\0", "an array of NumPy"),
            (b"\x1f\x8b\x08\0", "a file compressed by gzip"),
            (
                b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x0d\0\0\0nn.Sequential torch.",
                "a file of Torch 7",
            ),
            (&tar, "a tar archive"),
            (b"\x80\x04\x95\x0a", "a bare pickle"),
            (b"\xde\xad\xbe\xef\x01", "bytes of no format that is known (de ad be ef 01 …)"),
        ] {
            let foreign = Foreign::of(head);
            assert!(foreign.found.starts_with(found), "{foreign:?}");
        }
    }

    #[test]
    fn archives_are_named() {
        for (names, found) in [
            (&[] as &[&str], "an empty ZIP archive"),
            (&["a.npy", "b.npy"], "arrays of NumPy"),
            (&["config.json", "model.weights.h5"], "a network of Keras"),
            (&["x/archive_format", "x/models/model.json"], "a program of torch.export"),
            (&["weights/resnet.pth", "README"], "a ZIP archive with weights/resnet.pth in it"),
            (&["README"], "a ZIP archive without data.pkl"),
        ] {
            let foreign = Foreign::of_archive(names.iter().copied());
            assert!(foreign.found.starts_with(found), "{foreign:?}");
        }
    }
}
