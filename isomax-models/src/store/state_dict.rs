//! Where in a pickle the state dict of a network is.

use std::collections::BTreeMap;
use std::ptr;

use super::description::Description;
use super::names::is_counter;
use super::pickle::{Node, Pickle};
use super::rebuild::{describe_tensor, is_tensor};

/// Keys under which training programs keep the state dict, beside optimizers and epochs.
///
/// Averaged weights come first: who keeps them beside the last ones means to evaluate with them.
const KEYS: [&str; 18] = [
    "state_dict_ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "model_ema",
    "ema_model",
    "params_ema",
    "ema",
    "state_dict",
    "model",
    "model_state_dict",
    "net",
    "model_state",
    "network",
    "net_state_dict",
    "module",
    "weights",
    "params",
    "checkpoint",
];

/// How deep a state dict may lie in dictionaries.
const MAX_DEPTH: usize = 3;

/// Most tensors of a network, far beyond any; the same one may stand under many names.
const MAX_TENSORS: usize = 100_000;

/// The tensors of a state dict.
#[derive(Debug)]
pub(super) struct StateDict {
    /// The keys that lead to it, such as `state_dict`; empty if it is all that the file holds.
    pub section: String,
    pub tensors: BTreeMap<String, Description>,
}

impl StateDict {
    /// Finds the tensors of a state dict, as it is or nested in a checkpoint, by their names in the
    /// file.
    ///
    /// # Errors
    ///
    /// What was found in place of a state dict.
    pub fn find(pickle: &Pickle) -> Result<Self, String> {
        let root = pickle.root();
        let entries = pickle.entries(root).ok_or_else(|| pickle.describe(root))?;
        let mut keys = Vec::new();
        let node = search(pickle, root, &mut keys, &mut Vec::new()).ok_or_else(|| {
            let contents: Vec<_> = (entries.iter().take(10))
                .map(|(key, value)| format!("'{key}': {}", pickle.describe(value)))
                .collect();
            format!("a dictionary without tensors {{{}}}", contents.join(", "))
        })?;
        if let Some(key) = pickle.other_key(node) {
            return Err(format!("a dictionary with {} for a name", pickle.describe(key)));
        }
        let entries = pickle.entries(node).unwrap_or_default();
        if entries.len() > MAX_TENSORS {
            return Err(format!("a dictionary of {} entries", entries.len()));
        }
        let mut tensors = BTreeMap::new();
        for (name, value) in entries {
            match describe_tensor(pickle, value) {
                Ok(tensor) => drop(tensors.insert(name.to_owned(), tensor)),
                Err(_) if is_counter(name) => {}
                Err(error) => return Err(format!("'{name}': {error}")),
            }
        }
        Ok(Self { section: keys.join("."), tensors })
    }
}

/// The dictionary with tensors at or below a value, and the keys that lead to it.
///
/// A checkpoint may hold tensors beside its state dict, such as the best accuracy; a state dict holds
/// no dictionaries. Hence what is below comes first.
fn search<'a>(
    pickle: &'a Pickle,
    node: &'a Node,
    keys: &mut Vec<&'static str>,
    seen: &mut Vec<*const Node>,
) -> Option<&'a Node> {
    // The same dictionary may stand in many places, itself included.
    if keys.len() > MAX_DEPTH || seen.contains(&ptr::from_ref(node)) {
        return None;
    }
    seen.push(ptr::from_ref(node));
    let entries = pickle.entries(node)?;
    for key in KEYS {
        if let Some(inner) = entries.get(key) {
            keys.push(key);
            if let Some(found) = search(pickle, inner, keys, seen) {
                return Some(found);
            }
            keys.pop();
        }
    }
    entries.values().any(|value| is_tensor(pickle, value)).then_some(node)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::path::Path;

    use super::*;
    use proptest::prelude::*;

    fn pickle_of(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let mut archive =
            zip::ZipArchive::new(File::open(path).expect("a file")).expect("an archive");
        let folder = name.trim_end_matches(".pth");
        let mut bytes = Vec::new();
        let mut entry = archive.by_name(&format!("{folder}/data.pkl")).expect("a pickle");
        entry.read_to_end(&mut bytes).expect("a stored entry");
        bytes
    }

    fn find(pickle: &[u8]) -> Result<StateDict, String> {
        StateDict::find(&Pickle::parse(pickle)?.0)
    }

    #[test]
    fn endless_tensors_are_refused() {
        let tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\n";
        let of = |name: &[u8], sizes: &[u8]| {
            let head = [b"}Vx\n".as_slice(), tensor, b"V", name, b"\nVcpu\nK\x01tQK\x00("].concat();
            find(
                &[head, sizes.to_vec(), b"t(".to_vec(), sizes.to_vec(), b"ttRs.".to_vec()].concat(),
            )
        };
        assert!(of(b"0", b"K\x01").is_ok());
        assert!(of(&[b'0'; 300], b"K\x01").is_err_and(|error| error.contains("endless name")));
        assert!(
            of(b"0", &b"K\x01".repeat(17)).is_err_and(|error| error.contains("no lists of sizes"))
        );
    }

    /// `x = {"model": x}`, and `p = Parameter(p)`.
    #[test]
    fn circles_end() {
        let error = find(b"}q\x00Vmodel\nh\x00s.").err();
        assert!(error.is_some_and(|error| error.contains("a dictionary without tensors")));
        let circle = b"}Vx\nctorch._utils\n_rebuild_parameter\n]q\x00Rq\x01h\x00h\x01a0s.";
        assert_eq!(find(circle).err().as_deref(), Some("'x': a tensor in too many wrappers"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Checksums of archives stop damage before it gets here; a hostile file has right ones.
        #[test]
        fn damaged_pickles_are_described_or_refused(
            name in prop::sample::select(vec!["plain.pth", "nested_model.pth", "parameters.pth"]),
            places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = pickle_of(name);
            for (place, value) in places {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            for tensor in find(&bytes).iter().flat_map(|found| found.tensors.values()) {
                // What a network has room for; more is refused before values are read.
                if tensor.bytes() < 100_000 {
                    let _ = tensor.gather(&[0; 1_000]);
                }
            }
        }
    }
}
