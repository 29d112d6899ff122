//! Python's pickle format, read as data.
//!
//! A pickle is a program for a machine with a stack, and Python's own machine may call any function
//! that the program names. This one has no calls: what Python would call becomes a [`Node::Call`]
//! that says so, and nothing else happens. Values lie in one list and refer to each other by place,
//! so that nesting, sharing and cycles cost neither stack nor memory.

use std::collections::{BTreeMap, HashMap};

/// A place in [`Pickle::nodes`].
pub(crate) type Place = usize;

/// A value of Python, as far as files of PyTorch need it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// Numbers with a fraction, bytes, sets and other values that no tensor is described by.
    Other,
    Int(i64),
    Text(String),
    Tuple(Vec<Place>),
    List(Vec<Place>),
    Dict(Vec<(Place, Place)>),
    /// A function or class, `module.name`.
    Global(String),
    /// A reference to something outside of the pickle, such as a storage.
    Persistent(Place),
    /// What Python would make by a call.
    Call {
        function: Place,
        arguments: Place,
    },
}

/// A pickle that has been read.
#[derive(Debug)]
pub(crate) struct Pickle {
    nodes: Vec<Node>,
    root: Place,
}

impl Pickle {
    /// Reads the pickle, of any protocol, that `bytes` start with, and tells how many bytes it has.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes, in words.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), String> {
        Machine { bytes, ..Machine::default() }.run()
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
    pub fn get(&self, place: Place) -> &Node {
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
        let entry = |(key, value): &(Place, Place)| match self.get(*key) {
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
        let Node::Call { function, arguments } = node else { return None };
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
            Node::Global(name) => format!("a reference to {name}"),
            Node::Call { function, .. } => match self.get(*function) {
                Node::Global(name) => format!("an object made by {name}"),
                _ => "an object".to_owned(),
            },
            Node::Persistent(_) | Node::Other => "some other value".to_owned(),
        }
    }
}

/// Most values of a tuple that describes a tensor, with room to spare.
const MAX_ITEMS: usize = 16;

/// The stack machine. What the stack holds are places.
#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    nodes: Vec<Node>,
    stack: Vec<Place>,
    /// Heights of the stack at marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Place>,
    /// Bytes and entries that were copied from one node to another: never more than the pickle has.
    copied: usize,
}

/// Classes whose instances are dictionaries.
const DICTS: [&str; 2] = ["collections.OrderedDict", "collections.defaultdict"];

impl Machine<'_> {
    fn run(mut self) -> Result<(Pickle, usize), String> {
        loop {
            let opcode = self.take(1)?[0];
            match opcode {
                // PROTO and FRAME tell nothing that reading needs.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'.' => {
                    let root = self.pop()?;
                    return Ok((Pickle { nodes: self.nodes, root }, self.position));
                }
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),
                b'2' => {
                    let top = self.top()?;
                    self.stack.push(top);
                }
                b'N' | 0x88 | 0x89 => self.push(Node::Other),
                b'G' => self.skip(8)?,
                b'F' => {
                    self.line()?;
                    self.push(Node::Other);
                }
                b'K' | b'M' | b'J' | b'I' | b'L' | 0x8a | 0x8b => self.integer(opcode)?,
                b'X' | b'V' | b'S' | b'U' | b'T' | 0x8c | 0x8d => self.text(opcode)?,
                b'B' | b'C' | 0x8e | 0x96 => {
                    let length = self.length(opcode)?;
                    self.skip(length)?;
                }
                b')' => self.push(Node::Tuple(Vec::new())),
                b']' => self.push(Node::List(Vec::new())),
                b'}' => self.push(Node::Dict(Vec::new())),
                0x8f => self.push(Node::Other),
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::Tuple(items));
                }
                b'l' => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::List(items));
                }
                b'd' => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::Dict(pairs(&items)?));
                }
                0x91 => {
                    self.pop_to_mark()?;
                    self.push(Node::Other);
                }
                0x85..=0x87 => {
                    let count = usize::from(opcode - 0x84);
                    let from = self.stack.len().checked_sub(count).ok_or(UNDERFLOW)?;
                    let items = self.stack.split_off(from);
                    self.push(Node::Tuple(items));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend_list(vec![item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.extend_list(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.extend_dict(vec![(key, value)])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.extend_dict(pairs(&items)?)?;
                }
                0x90 => drop(self.pop_to_mark()?),
                b'c' | b'i' | 0x93 => self.global(opcode)?,
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Node::Persistent(id));
                }
                b'R' | 0x81 => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    self.call(function, arguments)?;
                }
                0x92 => {
                    // The keyword arguments say nothing that is asked for.
                    let (_, arguments, function) = (self.pop()?, self.pop()?, self.pop()?);
                    self.call(function, arguments)?;
                }
                // The state of an object, such as the versions of a state dict.
                b'b' => drop(self.pop()?),
                b'q' | b'r' | b'p' | 0x94 => {
                    let index = self.memo_index(opcode)?;
                    let top = self.top()?;
                    self.memo.insert(index, top);
                }
                b'h' | b'j' | b'g' => {
                    let index = self.memo_index(opcode)?;
                    let place = *self.memo.get(&index).ok_or("a memo entry that was never set")?;
                    self.stack.push(place);
                }
                other => {
                    return Err(format!(
                        "unknown instruction {other:#04x} at byte {}",
                        self.position - 1
                    ));
                }
            }
        }
    }

    fn integer(&mut self, opcode: u8) -> Result<(), String> {
        let value = match opcode {
            b'K' => i64::from(self.take(1)?[0]),
            b'M' => little_endian(self.take(2)?),
            b'J' => i64::from(little_endian(self.take(4)?) as i32),
            b'I' | b'L' => {
                let line = self.line()?;
                line.trim_end_matches('L').parse().map_err(|_| format!("'{line}' for a number"))?
            }
            _ => {
                let length = if opcode == 0x8a {
                    usize::from(self.take(1)?[0])
                } else {
                    little_endian(self.take(4)?) as usize
                };
                let digits = self.take(length)?;
                // Larger numbers, such as the seeds of random generators, describe no tensor.
                if length > 8 {
                    self.push(Node::Other);
                    return Ok(());
                }
                let unused = 64 - 8 * length as u32;
                if length == 0 { 0 } else { little_endian(digits) << unused >> unused }
            }
        };
        self.push(Node::Int(value));
        Ok(())
    }

    fn text(&mut self, opcode: u8) -> Result<(), String> {
        let text = if matches!(opcode, b'V' | b'S') {
            self.line()?.trim_matches(['\'', '"']).to_owned()
        } else {
            let length = self.length(opcode)?;
            String::from_utf8_lossy(self.take(length)?).into_owned()
        };
        self.push(Node::Text(text));
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Result<(), String> {
        if opcode == 0x93 {
            let (name, module) = (self.pop()?, self.pop()?);
            let (Node::Text(module), Node::Text(name)) = (&self.nodes[module], &self.nodes[name])
            else {
                return Err("a global that is not named by text".to_owned());
            };
            let global = format!("{module}.{name}");
            self.charge(global.len())?;
            self.push(Node::Global(global));
            return Ok(());
        }
        let global = format!("{}.{}", self.line()?, self.line()?);
        self.push(Node::Global(global));
        if opcode == b'i' {
            let function = self.pop()?;
            let arguments = self.pop_to_mark()?;
            self.push(Node::Tuple(arguments));
            let arguments = self.pop()?;
            self.call(function, arguments)?;
        }
        Ok(())
    }

    fn charge(&mut self, copied: usize) -> Result<(), String> {
        self.copied += copied;
        // A short pickle may name a class and its module by two references.
        if self.copied > self.bytes.len() + 1_000 {
            return Err("it copies more than it holds".to_owned());
        }
        Ok(())
    }

    fn call(&mut self, function: Place, arguments: Place) -> Result<(), String> {
        let makes_dict =
            matches!(&self.nodes[function], Node::Global(name) if DICTS.contains(&name.as_str()));
        if makes_dict {
            self.charge(self.items_of(arguments).map_or(0, <[Place]>::len))?;
            let entries = self.entries_of(arguments).unwrap_or_default();
            self.push(Node::Dict(entries));
        } else {
            self.push(Node::Call { function, arguments });
        }
        Ok(())
    }

    /// The pairs of `OrderedDict([(key, value), …])`.
    fn items_of(&self, arguments: Place) -> Option<&[Place]> {
        let Node::Tuple(arguments) = &self.nodes[arguments] else { return None };
        match &self.nodes[*arguments.first()?] {
            Node::List(items) | Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    fn entries_of(&self, arguments: Place) -> Option<Vec<(Place, Place)>> {
        let pair = |item: &Place| match &self.nodes[*item] {
            Node::Tuple(pair) | Node::List(pair) => Some((*pair.first()?, *pair.get(1)?)),
            _ => None,
        };
        self.items_of(arguments)?.iter().map(pair).collect()
    }

    fn extend_list(&mut self, items: Vec<Place>) -> Result<(), String> {
        let top = self.top()?;
        if let Node::List(list) = &mut self.nodes[top] {
            list.extend(items);
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: Vec<(Place, Place)>) -> Result<(), String> {
        let top = self.top()?;
        if let Node::Dict(entries) = &mut self.nodes[top] {
            entries.extend(items);
        }
        Ok(())
    }

    fn memo_index(&mut self, opcode: u8) -> Result<u64, String> {
        Ok(match opcode {
            b'q' | b'h' => u64::from(self.take(1)?[0]),
            b'r' | b'j' => little_endian(self.take(4)?) as u64,
            0x94 => self.memo.len() as u64,
            _ => {
                let line = self.line()?;
                line.parse().map_err(|_| format!("'{line}' for a memo entry"))?
            }
        })
    }

    /// The length that stands before text or bytes.
    fn length(&mut self, opcode: u8) -> Result<usize, String> {
        let digits = match opcode {
            b'U' | b'C' | 0x8c => 1,
            0x8d | 0x8e | 0x96 => 8,
            _ => 4,
        };
        usize::try_from(little_endian(self.take(digits)?)).map_err(|_| "a negative length".into())
    }

    fn skip(&mut self, length: usize) -> Result<(), String> {
        self.take(length)?;
        self.push(Node::Other);
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&[u8], String> {
        let end = self.position.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("it ends early, after {} bytes", self.bytes.len()))?;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or("a line without end")?;
        let line = String::from_utf8_lossy(&rest[..length]).trim_end_matches('\r').to_owned();
        self.position += length + 1;
        Ok(line)
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    fn top(&self) -> Result<Place, String> {
        Ok(*self.stack.last().ok_or(UNDERFLOW)?)
    }

    fn pop(&mut self) -> Result<Place, String> {
        Ok(self.stack.pop().ok_or(UNDERFLOW)?)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Place>, String> {
        let height = self.marks.pop().ok_or("no mark")?;
        if height > self.stack.len() {
            return Err(UNDERFLOW.to_owned());
        }
        Ok(self.stack.split_off(height))
    }
}

const UNDERFLOW: &str = "it takes more values than it makes";

fn pairs(items: &[Place]) -> Result<Vec<(Place, Place)>, String> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    } else {
        Err("a key without a value".to_owned())
    }
}

/// Up to eight bytes as a number without sign.
fn little_endian(bytes: &[u8]) -> i64 {
    bytes.iter().rev().fold(0, |value, byte| (value << 8) | i64::from(*byte))
}

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
                prop::sample::select(b"()]}NKtldaeuscQRbqh012\x81\x85\x86\x87\x8c\x90\x91\x92\x93\x94.".to_vec()),
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
