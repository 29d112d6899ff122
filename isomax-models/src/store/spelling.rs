//! The names that the tensors of a layer have in networks of others.

use std::collections::{BTreeMap, HashMap};

use super::wanted::{Wanted, last_part};

/// What public networks call their last layer, an affine one.
const LAST_LAYERS: [&str; 12] = [
    "classifier",
    "fc",
    "linear",
    "head",
    "last_linear",
    "output",
    "logits",
    "last_layer",
    "out",
    "cls",
    "fc_out",
    "head.fc",
];

/// What may follow these names: the layer may stand in a sequence, alone or after a dropout.
const IN_SEQUENCES: [&str; 3] = ["", ".0", ".1"];

/// What this crate and torchvision call the projection of a residual block.
const SHORTCUTS: [&str; 2] = ["shortcut", "downsample"];

/// The tensors of a layer: those with the same name but for the last part.
#[derive(Debug)]
pub(super) struct Layer {
    /// Places of the tensors in the network.
    pub places: Vec<usize>,
    /// Ways to name all of them, of which the first is the network's own.
    pub spellings: Vec<Vec<String>>,
}

/// The layers of a network with all names that they may have in files.
pub(super) fn layers(wanted: &[Wanted]) -> Vec<Layer> {
    let own: HashMap<&str, usize> =
        wanted.iter().enumerate().map(|(place, tensor)| (tensor.name.as_str(), place)).collect();
    let mut by_name = BTreeMap::<&str, Vec<usize>>::new();
    for (place, tensor) in wanted.iter().enumerate() {
        by_name.entry(split(&tensor.name).0).or_default().push(place);
    }
    let layer = |(name, places): (&str, Vec<usize>)| {
        let tensors: Vec<&Wanted> = places.iter().map(|place| &wanted[*place]).collect();
        let mut spellings = spellings(name, &tensors);
        // A name that another tensor of the network has means that one.
        spellings.retain(|spelling| {
            spelling
                .iter()
                .zip(&places)
                .all(|(name, place)| own.get(name.as_str()).is_none_or(|owner| owner == place))
        });
        Layer { places, spellings }
    };
    by_name.into_iter().map(layer).collect()
}

impl Layer {
    /// The names by which most tensors of the layer are there, its own if others are no better.
    pub fn best_spelling(&self, is_there: impl Fn(&str) -> bool) -> &[String] {
        let count = |spelling: &[String]| spelling.iter().filter(|name| is_there(name)).count();
        let mut best: &[String] = self.spellings.first().map(Vec::as_slice).unwrap_or_default();
        for spelling in &self.spellings {
            if count(spelling) > count(best) {
                best = spelling;
            }
        }
        best
    }
}

/// The name of a layer and that of a tensor in it.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

fn join(layer: &str, tensor: &str) -> String {
    if layer.is_empty() { tensor.to_owned() } else { format!("{layer}.{tensor}") }
}

fn spellings(layer: &str, tensors: &[&Wanted]) -> Vec<Vec<String>> {
    let fields = || tensors.iter().map(|tensor| last_part(&tensor.name));
    let in_layer =
        |layer: &str| -> Vec<String> { fields().map(|field| join(layer, field)).collect() };
    let affine = |layer: &str| -> Vec<String> {
        // What PyTorch calls the weights of an affine layer.
        let renamed = fields().map(|field| if field == "weights" { "weight" } else { field });
        renamed.map(|field| join(layer, field)).collect()
    };
    let mut spellings = vec![in_layer(layer)];
    if tensors.iter().all(|tensor| tensor.in_softmax) {
        spellings.push(affine(layer));
        if !layer.is_empty() {
            let (parent, _) = split(layer);
            for name in LAST_LAYERS {
                let places = IN_SEQUENCES.map(|end| join(parent, &format!("{name}{end}")));
                spellings.extend(places.iter().map(|place| affine(place)));
            }
        }
    }
    let [own, other] = SHORTCUTS;
    let parts: Vec<&str> = layer.split('.').collect();
    if parts.contains(&own) {
        let renamed = parts.into_iter().map(|part| if part == own { other } else { part });
        spellings.push(in_layer(&renamed.collect::<Vec<_>>().join(".")));
    }
    spellings
}
