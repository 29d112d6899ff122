//! Which tensor of a file is which of a network: the prefixes of wrappers, other names of layers, and
//! counters.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use isomax_burn::posthoc::TENSOR_PREFIX;

use super::spelling::{Layer, layers};
use super::wanted::{Wanted, last_part};

/// Counters that PyTorch keeps beside the tensors of batch normalisations and of averaged models, and
/// that nothing depends on.
const COUNTERS: [&str; 2] = ["num_batches_tracked", "n_averaged"];

/// What `torch.compile` and wrappers for large networks put into names, at any place.
const WRAPPERS: [&str; 3] = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// Whether a name is that of a counter.
pub(super) fn is_counter(name: &str) -> bool {
    COUNTERS.contains(&last_part(name))
}

/// What was found of a network in a file.
#[derive(Debug)]
pub(super) struct Matches {
    /// For each tensor of the network its name in the file.
    pub found: Vec<Option<String>>,
    /// Names of the file that are those of no tensor, without counters.
    pub unexpected: Vec<String>,
}

/// Finds the tensors of a network by their names in a file.
///
/// Parts that `torch.compile` adds are left out wherever they stand. Of all prefixes in the file, the
/// empty one included, the one counts under which most tensors of the network are found, the shortest if
/// there are several. Tensors outside of it are unexpected.
///
/// # Errors
///
/// Which two names of the file are one, in words.
pub(super) fn find<'a>(
    wanted: &[Wanted],
    file: impl Iterator<Item = &'a str>,
) -> Result<Matches, String> {
    let mut names = BTreeMap::new();
    for given in file.filter(|given| !given.starts_with(TENSOR_PREFIX)) {
        let name = without_wrappers(given);
        if let Some(other) = names.insert(name, given) {
            return Err(format!("'{other}' and '{given}' are names of the same tensor"));
        }
    }
    let layers = layers(wanted);
    let prefix = prefix(&layers, &names);
    let within = |name: &str| names.get(&format!("{prefix}{name}")).copied();

    let mut found = vec![None; wanted.len()];
    let mut used = BTreeSet::<&str>::new();
    for layer in &layers {
        // Two layers of a network may have the same other name, which then stands for the first.
        let unused = |name: &str| within(name).filter(|given| !used.contains(given));
        let spelling = layer.best_spelling(|name| unused(name).is_some());
        let given: Vec<Option<&str>> = spelling.iter().map(|name| unused(name)).collect();
        for (place, given) in layer.places.iter().zip(given) {
            found[*place] = given.map(str::to_owned);
            used.extend(given);
        }
    }
    let unexpected = names.values().filter(|given| !used.contains(*given) && !is_counter(given));
    let unexpected = unexpected.map(|given| (*given).to_owned()).collect();
    Ok(Matches { found, unexpected })
}

/// A name without the parts of wrappers, if there are others, and without the underscores with which private
/// fields begin, as those of the published EfficientNets.
fn without_wrappers(name: &str) -> String {
    let parts = name.split('.').filter(|part| !WRAPPERS.contains(part));
    let parts: Vec<&str> = parts
        .map(|part| match part.trim_start_matches('_') {
            "" => part,
            public => public,
        })
        .collect();
    if parts.is_empty() { name.to_owned() } else { parts.join(".") }
}

/// The prefix, with its dot, under which most tensors are found.
fn prefix(layers: &[Layer], names: &BTreeMap<String, &str>) -> String {
    let mut places = HashMap::<&str, usize>::new();
    for layer in layers {
        for spelling in &layer.spellings {
            let names = spelling.iter().map(String::as_str);
            places.extend(names.zip(layer.places.iter().copied()));
        }
    }
    let depth = places.keys().map(|name| name.split('.').count()).max().unwrap_or_default();
    let mut found = BTreeMap::<&str, BTreeSet<usize>>::new();
    for name in names.keys() {
        // No more parts than the longest name of the network has: names in files may have any number.
        let starts = name.rmatch_indices('.').map(|(dot, _)| dot + 1).chain([0]);
        for (prefix, rest) in starts.take(depth).map(|start| name.split_at(start)) {
            if let Some(place) = places.get(rest) {
                found.entry(prefix).or_default().insert(*place);
            }
        }
    }
    let best = found.iter().max_by_key(|(prefix, places)| (places.len(), Reverse(prefix.len())));
    best.map_or_else(String::new, |(prefix, _)| (*prefix).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(names: &[&str]) -> Vec<Wanted> {
        let wanted = |name: &&str| Wanted {
            name: (*name).to_owned(),
            in_softmax: name.starts_with("classifier."),
        };
        names.iter().map(wanted).collect()
    }

    const NETWORK: [&str; 6] = [
        "conv1.weight",
        "layer1.0.bn1.running_var",
        "layer1.0.shortcut.0.weight",
        "classifier.weights",
        "classifier.bias",
        "classifier.temperature",
    ];

    fn found(file: &[String]) -> Matches {
        find(&wanted(&NETWORK), file.iter().map(String::as_str)).expect("distinct names")
    }

    /// All names of the network but for the temperature, with a prefix.
    fn with_prefix(prefix: &str) -> Vec<String> {
        NETWORK[..5].iter().map(|name| format!("{prefix}{name}")).collect()
    }

    #[track_caller]
    fn all_are_found(file: &[String]) {
        let matches = found(file);
        let names: Vec<String> = matches.found[..5].iter().flatten().cloned().collect();
        assert_eq!(names, file[..5]);
        assert_eq!(matches.found[5], None);
        assert_eq!(matches.unexpected, [] as [String; 0]);
    }

    #[test]
    fn prefixes_are_found() {
        for prefix in [
            "",
            "module.",
            "_orig_mod.",
            "module._orig_mod.",
            "_orig_mod.module.",
            "a.b._orig_mod.c.",
        ] {
            all_are_found(&with_prefix(prefix));
        }
        let mut compiled_inside = with_prefix("model.");
        compiled_inside[1] = "model.layer1._orig_mod.0.bn1.running_var".to_owned();
        all_are_found(&compiled_inside);
        let mut averaged = with_prefix("module.");
        averaged.extend(["n_averaged".to_owned(), "module.bn1.num_batches_tracked".to_owned()]);
        all_are_found(&averaged);
    }

    #[test]
    fn tensors_beside_a_prefix_are_unexpected() {
        let mut file = with_prefix("model.");
        file.extend(["criterion.weight", "conv1.weight"].map(str::to_owned));
        let matches = found(&file);
        assert_eq!(matches.unexpected, ["conv1.weight", "criterion.weight"]);
        assert_eq!(matches.found[0].as_deref(), Some("model.conv1.weight"));
    }

    #[test]
    fn the_shortest_of_equal_prefixes_counts() {
        let file = [with_prefix("online_model."), with_prefix("ema_model.")].concat();
        assert_eq!(found(&file).found[0].as_deref(), Some("ema_model.conv1.weight"));
        let file = [with_prefix(""), with_prefix("teacher.")].concat();
        let matches = found(&file);
        assert_eq!(matches.found[0].as_deref(), Some("conv1.weight"));
        assert_eq!(matches.unexpected.len(), 5);
    }

    #[test]
    fn names_that_become_one_are_refused() {
        let mut file = with_prefix("");
        file.push("_orig_mod.conv1.weight".to_owned());
        let error = find(&wanted(&NETWORK), file.iter().map(String::as_str)).err();
        let names = "'conv1.weight' and '_orig_mod.conv1.weight' are names of the same tensor";
        assert_eq!(error.as_deref(), Some(names));
    }

    #[test]
    fn other_names_of_layers_are_found() {
        for layer in
            ["fc", "linear", "head", "last_linear", "output", "classifier", "fc.1", "logits"]
        {
            let mut file = with_prefix("module.");
            file[3] = format!("module.{layer}.weight");
            file[4] = format!("module.{layer}.bias");
            all_are_found(&file);
        }
        all_are_found(
            &NETWORK[..5].iter().map(|n| format!("_{}", n.replace('.', "._"))).collect::<Vec<_>>(),
        );
        let mut file = with_prefix("");
        file[2] = "layer1.0.downsample.0.weight".to_owned();
        all_are_found(&file);
    }

    #[test]
    fn a_layer_has_one_spelling() {
        let names = |names: &[&str]| {
            let file: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            found(&file)
        };
        let matches = names(&["conv1.weight", "fc.weight", "linear.bias"]);
        assert_eq!(matches.found[3].as_deref(), Some("fc.weight"));
        assert_eq!(matches.found[4], None);
        assert_eq!(matches.unexpected, ["linear.bias"]);
        let matches = names(&["conv1.weight", "fc.weight", "fc.bias", "classifier.temperature"]);
        assert_eq!(matches.unexpected, ["classifier.temperature"]);
        let matches = names(&["conv1.weight", "fc.weight"]);
        assert_eq!(matches.found[4], None);
        // A tensor of the network is no other name of another one.
        let two = wanted(&["classifier.weights", "classifier.bias", "fc.weight", "fc.bias"]);
        let file = ["fc.weight", "fc.bias"];
        let matches = find(&two, file.into_iter()).expect("distinct names");
        assert!(matches.found[..2].iter().all(Option::is_none));
        assert_eq!(matches.found[2].as_deref(), Some("fc.weight"));
        // No tensor of a file goes to two heads.
        let mut heads = wanted(&["classifier.weights", "second.weights"]);
        heads[1].in_softmax = true;
        let matches = find(&heads, ["fc.weight"].into_iter()).expect("distinct names");
        assert_eq!(matches.found, [Some("fc.weight".to_owned()), None]);
    }

    #[test]
    fn endless_names_are_read() {
        let name = "a.".repeat(200_000);
        let matches = found(std::slice::from_ref(&name));
        assert_eq!(matches.unexpected, [name]);
        assert_eq!(found(&["_orig_mod".to_owned()]).unexpected, ["_orig_mod"]);
    }
}
