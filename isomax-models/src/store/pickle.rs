//! Python's pickle format, read as data.
//!
//! A pickle is a program for a machine with a stack, and Python's own machine may call any function
//! that the program names. This one has no calls: what Python would call becomes a [`Node::Call`]
//! that says so, and nothing else happens. Values lie in one list and refer to each other by place,
//! so that nesting, sharing and cycles cost neither stack nor memory.
//!
//! ```
//! use isomax_models::store::pickle::{Node, Pickle};
//!
//! // pickle.dumps({"epoch": 3}, protocol=2)
//! let bytes = b"\x80\x02}q\x00X\x05\x00\x00\x00epochq\x01K\x03s.";
//! let (pickle, length) = Pickle::parse(bytes)?;
//! assert_eq!(length, bytes.len());
//! let entries = pickle.entries(pickle.root()).ok_or("no dictionary")?;
//! assert_eq!(entries["epoch"], &Node::Int(3));
//! # Ok::<(), String>(())
//! ```

use std::collections::BTreeMap;

mod machine;
mod text;

use machine::Machine;

/// A place in [`Pickle::nodes`]. [`Pickle::get`] gives the value.
pub type NodeId = usize;

/// A value of Python, as far as files of PyTorch and arrays of NumPy need it. See the [module](self) for
/// an example.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Node {
    /// Numbers with a fraction, sets and other values that neither is described by.
    Other,
    /// `True` or `False`; before protocol 2 they are the numbers 1 and 0.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text, or what Python 2 calls a string, if that is UTF-8.
    Text(String),
    /// Bytes, or a string of Python 2 that is not UTF-8.
    Bytes(Vec<u8>),
    /// A tuple.
    Tuple(Vec<NodeId>),
    /// A list.
    List(Vec<NodeId>),
    /// A dictionary, keys and values in their order.
    Dict(Vec<(NodeId, NodeId)>),
    /// A function or class, `module.name`.
    Global(String),
    /// A reference to something outside of the pickle, such as a storage.
    Persistent(NodeId),
    /// What Python would make by a call.
    Call {
        /// The function or class.
        function: NodeId,
        /// Its arguments, a tuple.
        arguments: NodeId,
        /// What Python would then hand to the object that was made.
        state: Option<NodeId>,
    },
}

/// A pickle that has been read.
///
/// ```
/// use isomax_models::store::pickle::Pickle;
///
/// // Python would call os.system("true") here.
/// let (pickle, _) = Pickle::parse(b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.")?;
/// assert_eq!(pickle.describe(pickle.root()), "an object made by posix.system");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug)]
pub struct Pickle {
    nodes: Vec<Node>,
    root: NodeId,
}

impl Pickle {
    /// Reads the pickle, of any protocol, that `bytes` start with, and tells how many bytes it has.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes, in words.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), String> {
        Machine::new(bytes, usize::MAX).run()
    }

    /// As [`parse`](Self::parse), for large pickles of data: each instruction, a byte of a hostile
    /// file, may take some hundred bytes of memory, so that their number is limited. The contents of
    /// texts and bytes count as none.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes, in words.
    pub fn parse_limited(bytes: &[u8], most_instructions: usize) -> Result<(Self, usize), String> {
        Machine::new(bytes, most_instructions).run()
    }

    /// The value that the pickle stands for.
    pub fn root(&self) -> &Node {
        &self.nodes[self.root]
    }

    /// All values, in the order in which they were made.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The value at a place.
    pub fn get(&self, place: NodeId) -> &Node {
        &self.nodes[place]
    }

    /// The values of a tuple or list that is as short as those that describe tensors: a long one may
    /// stand in many places, and is not copied for each.
    pub fn items(&self, node: &Node) -> Option<Vec<&Node>> {
        match node {
            Node::Tuple(places) | Node::List(places) if places.len() <= MAX_ITEMS => {
                Some(places.iter().map(|place| self.get(*place)).collect())
            }
            _ => None,
        }
    }

    /// The entries of a dictionary whose keys are text. Of a key that comes again the last value
    /// counts, as in Python.
    pub fn entries<'a>(&'a self, node: &'a Node) -> Option<BTreeMap<&'a str, &'a Node>> {
        let Node::Dict(entries) = node else { return None };
        let entry = |(key, value): &(NodeId, NodeId)| match self.get(*key) {
            Node::Text(key) => Some((key.as_str(), self.get(*value))),
            _ => None,
        };
        Some(entries.iter().filter_map(entry).collect())
    }

    /// The first key of a dictionary that is no text.
    pub fn other_key(&self, node: &Node) -> Option<&Node> {
        let Node::Dict(entries) = node else { return None };
        let keys = entries.iter().map(|(key, _)| self.get(*key));
        keys.into_iter().find(|key| !matches!(key, Node::Text(_)))
    }

    /// The name of the function and the arguments of a call.
    pub fn call<'a>(&'a self, node: &'a Node) -> Option<(&'a str, Vec<&'a Node>)> {
        let Node::Call { function, arguments, .. } = node else { return None };
        let Node::Global(name) = self.get(*function) else { return None };
        Some((name, self.items(self.get(*arguments))?))
    }

    /// What a value is, in the words of an error message.
    pub fn describe(&self, node: &Node) -> String {
        match node {
            Node::Dict(_) => "a dictionary".to_owned(),
            Node::List(_) => "a list".to_owned(),
            Node::Tuple(_) => "a tuple".to_owned(),
            Node::Int(_) => "a number".to_owned(),
            Node::Text(_) => "text".to_owned(),
            Node::Bytes(_) => "bytes".to_owned(),
            Node::Global(name) => format!("a reference to {name}"),
            Node::Call { function, .. } => match self.get(*function) {
                Node::Global(name) => format!("an object made by {name}"),
                _ => "an object".to_owned(),
            },
            Node::Persistent(_) | Node::Bool(_) | Node::Other => "some other value".to_owned(),
        }
    }
}

/// Most values of a tuple that describes a tensor, with room to spare.
const MAX_ITEMS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Result<Pickle, String> {
        Ok(Pickle::parse(bytes)?.0)
    }

    #[test]
    fn functions_are_named_and_never_called() -> Result<(), String> {
        // pickle.dumps of an object whose __reduce__ is (os.system, ("true",)), protocol 2.
        let pickle =
            parse(b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.")?;
        let (function, arguments) = pickle.call(pickle.root()).ok_or("no call")?;
        assert_eq!(function, "posix.system");
        assert_eq!(arguments, [&Node::Text("true".to_owned())]);
        assert_eq!(pickle.describe(pickle.root()), "an object made by posix.system");
        Ok(())
    }

    #[test]
    fn all_protocols_give_the_same() -> Result<(), String> {
        // {"a": (1, 300, -7), "b": [2**40]} by pickle.dumps with protocols 0, 2 and 4.
        let protocols: [&[u8]; 3] = [
            b"(dp0\nVa\np1\n(I1\nI300\nI-7\ntp2\nsVb\np3\n(lp4\nL1099511627776L\nas.",
            b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01M,\x01J\xf9\xff\xff\xff\x87q\x02X\x01\x00\x00\x00bq\x03]q\x04\x8a\x06\x00\x00\x00\x00\x00\x01au.",
            b"\x80\x04\x95 \x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94K\x01M,\x01J\xf9\xff\xff\xff\x87\x94\x8c\x01b\x94]\x94\x8a\x06\x00\x00\x00\x00\x00\x01au.",
        ];
        for bytes in protocols {
            let pickle = parse(bytes)?;
            let entries = pickle.entries(pickle.root()).ok_or("no dictionary")?;
            assert_eq!(entries.keys().copied().collect::<Vec<_>>(), ["a", "b"]);
            let numbers = [Node::Int(1), Node::Int(300), Node::Int(-7)];
            assert_eq!(pickle.items(entries["a"]), Some(numbers.iter().collect()));
            assert_eq!(pickle.items(entries["b"]), Some(vec![&Node::Int(1 << 40)]));
        }
        Ok(())
    }

    /// A string of Python 2, and bytes, that are no text.
    #[test]
    fn bytes_of_all_protocols() -> Result<(), String> {
        let bytes: [&[u8]; 8] = [
            b"S'\\xff\\'\\n'\np0\n.",
            b"U\x03\xff'\nq\0.",
            b"T\x03\0\0\0\xff'\nq\0.",
            b"\x80\x03C\x03\xff'\n.",
            b"\x80\x03B\x03\0\0\0\xff'\n.",
            b"\x80\x04\x8e\x03\0\0\0\0\0\0\0\xff'\n.",
            b"\x80\x05\x96\x03\0\0\0\0\0\0\0\xff'\n.",
            b"\x80\x02C\x03\xff'\n.",
        ];
        for pickle in bytes {
            let pickle = parse(pickle)?;
            assert_eq!(pickle.root(), &Node::Bytes(b"\xff'\n".to_vec()));
            assert_eq!(pickle.describe(pickle.root()), "bytes");
        }
        // pickle.dumps("\xff\\\u20ac'", 0), and the same text in protocol 2.
        let texts: [&[u8]; 2] =
            [b"V\xff\\u005c\\u20ac'\np0\n.", b"\x80\x02X\x07\0\0\0\xc3\xbf\\\xe2\x82\xac'."];
        for pickle in texts {
            assert_eq!(parse(pickle)?.root(), &Node::Text("\u{ff}\\\u{20ac}'".to_owned()));
        }
        Ok(())
    }

    #[test]
    fn objects_keep_their_state() -> Result<(), String> {
        let pickle = parse(b"\x80\x02cnumpy\ndtype\nX\x02\0\0\0u1\x85R(K\x03\x88tb.")?;
        let Node::Call { state: Some(state), .. } = pickle.root() else {
            return Err("no state".to_owned());
        };
        let state = pickle.items(pickle.get(*state));
        assert_eq!(state, Some(vec![&Node::Int(3), &Node::Bool(true)]));
        assert_eq!(pickle.call(pickle.root()).ok_or("no call")?.0, "numpy.dtype");
        Ok(())
    }

    #[test]
    fn instructions_can_be_limited() -> Result<(), String> {
        let pickle = [b"(".repeat(50), b"2".repeat(50)].concat();
        let limited = |most| Pickle::parse_limited(&pickle, most).err();
        assert_eq!(limited(50).as_deref(), Some("it has more than 50 instructions"));
        let bytes = [b"B\xe8\x03\0\0".as_slice(), &[7; 1_000], b"."].concat();
        Pickle::parse_limited(&bytes, 2)?;
        let outside = parse(b"\x80\x05\x97.").err();
        assert!(outside.is_some_and(|error| error.contains("outside of the pickle")));
        Ok(())
    }

    #[test]
    fn nesting_and_sharing_cost_no_more_than_their_bytes() -> Result<(), String> {
        let mut nested = vec![b')'];
        nested.extend(std::iter::repeat_n(0x85, 1_000_000));
        nested.push(b'.');
        assert_eq!(parse(&nested)?.nodes.len(), 1_000_001);
        // Each tuple holds the one before twice.
        let mut doubled = vec![b')'];
        doubled.extend([b'2', 0x86].repeat(1_000));
        doubled.push(b'.');
        assert_eq!(parse(&doubled)?.nodes.len(), 1_001);
        Ok(())
    }

    /// A long text or list in the memo, asked for again and again in a few bytes each.
    #[test]
    fn copies_are_counted() {
        let text = [b"X\x10\x27\x00\x00".as_slice(), &[b'a'; 10_000], b"q\x00"].concat();
        let global = [text, b"h\x00h\x00\x93".repeat(1_000), b".".to_vec()].concat();
        let list =
            [b"ccollections\nOrderedDict\nq\x00](".to_vec(), b"NN\x86".repeat(5_000)].concat();
        let list = [list, b"e\x85q\x01".to_vec(), b"h\x00h\x01R".repeat(1_000), b".".to_vec()];
        for pickle in [global, list.concat()] {
            assert_eq!(parse(&pickle).err().as_deref(), Some("it copies more than it holds"));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        /// Bytes that are instructions more often than not get further.
        #[test]
        fn any_program_is_read_or_refused(
            instructions in prop::collection::vec(
                prop::sample::select(b"()]}NKtldaeuscQRbqh012UC\x81\x85\x86\x87\x88\x8c\x90\x91\x92\x93\x94.".to_vec()),
                0..200,
            )
        ) {
            if let Ok(pickle) = parse(&instructions) {
                pickle.describe(pickle.root());
                pickle.entries(pickle.root());
                pickle.call(pickle.root());
            }
        }
    }
}
