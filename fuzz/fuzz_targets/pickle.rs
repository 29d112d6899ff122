//! Pickles of Python.
//!
//! A pickle may share values, nest them at will and hold circles, but it never costs more than some
//! times its own bytes, and nothing in it leads anywhere else.

#![no_main]

use isomax_models::store::pickle::{Node, NodeId, Pickle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // An instruction has a byte at least.
    let limited = Pickle::parse_limited(bytes, bytes.len());
    let (pickle, length) = match (Pickle::parse(bytes), limited) {
        (Ok((pickle, length)), Ok((limited, same))) => {
            assert_eq!((pickle.nodes(), length), (limited.nodes(), same));
            (pickle, length)
        }
        (Err(error), Err(limited)) => {
            assert!(error == limited && !error.is_empty());
            return;
        }
        (parsed, limited) => panic!("{parsed:?}, but within limits {limited:?}"),
    };
    assert_eq!(bytes[length - 1], b'.', "what a pickle ends with");
    assert!(Pickle::parse(&bytes[..length - 1]).is_err(), "a pickle without its end");
    assert!(Pickle::parse_limited(bytes, 0).is_err());
    // Names may be copied as long as the bytes behind the pickle, which may be other pickles.
    if let Ok((alone, same)) = Pickle::parse(&bytes[..length]) {
        assert_eq!((pickle.nodes(), length), (alone.nodes(), same));
    }

    let nodes = pickle.nodes();
    assert!(nodes.len() <= length, "{} values of {length} bytes", nodes.len());
    let (mut places, mut copies) = (0, 0);
    for node in nodes {
        for place in inside(node) {
            pickle.get(place);
            places += 1;
        }
        copies += match node {
            Node::Text(text) | Node::Global(text) => text.len(),
            Node::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        assert!(!pickle.describe(node).is_empty());
        let short = matches!(node, Node::Tuple(items) | Node::List(items) if items.len() <= 16);
        assert_eq!(pickle.items(node).is_some(), short);
        let dict = matches!(node, Node::Dict(_));
        assert_eq!(pickle.entries(node).is_some(), dict);
        pickle.other_key(node);
        pickle.call(node);
    }
    // A place is copied where a class makes a dictionary of pairs, a name where it has two parts; a
    // byte that is no text becomes a mark of three.
    let most = 4 * bytes.len() + 4_000;
    assert!(places <= most, "{places} places of {} bytes", bytes.len());
    assert!(copies <= most, "{copies} bytes of {}", bytes.len());
    assert!(!pickle.describe(pickle.root()).is_empty());
});

/// The places that a value refers to.
fn inside(node: &Node) -> Vec<NodeId> {
    match node {
        Node::Tuple(places) | Node::List(places) => places.clone(),
        Node::Dict(entries) => entries.iter().flat_map(|(key, value)| [*key, *value]).collect(),
        Node::Persistent(place) => vec![*place],
        Node::Call { function, arguments, state } => {
            [*function, *arguments].into_iter().chain(*state).collect()
        }
        _ => Vec::new(),
    }
}
