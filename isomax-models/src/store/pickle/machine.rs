//! What carries out the instructions of a pickle, as far as that makes data.

use std::collections::HashMap;

use super::text::{raw_unicode, string};
use super::{Node, NodeId, Pickle};

/// The stack machine. What the stack holds are places.
#[derive(Default)]
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    nodes: Vec<Node>,
    stack: Vec<NodeId>,
    /// Heights of the stack at marks.
    marks: Vec<usize>,
    memo: HashMap<u64, NodeId>,
    /// Bytes and entries that were copied from one node to another: never more than the pickle has.
    copied: usize,
    /// Instructions that may still come.
    left: usize,
}

/// Classes whose instances are dictionaries.
const DICTS: [&str; 2] = ["collections.OrderedDict", "collections.defaultdict"];

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8], most_instructions: usize) -> Self {
        Self { bytes, left: most_instructions, ..Self::default() }
    }

    pub fn run(mut self) -> Result<(Pickle, usize), String> {
        let most = self.left;
        loop {
            let opcode = self.take(1)?[0];
            self.left = (self.left.checked_sub(1))
                .ok_or_else(|| format!("it has more than {most} instructions"))?;
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
                b'N' => self.push(Node::Other),
                0x88 | 0x89 => self.push(Node::Bool(opcode == 0x88)),
                b'G' => self.skip(8)?,
                b'F' => {
                    self.line()?;
                    self.push(Node::Other);
                }
                b'K' | b'M' | b'J' | b'I' | b'L' | 0x8a | 0x8b => self.integer(opcode)?,
                b'X' | b'V' | b'S' | b'U' | b'T' | 0x8c | 0x8d => self.text(opcode)?,
                b'B' | b'C' | 0x8e | 0x96 => {
                    let length = self.length(opcode)?;
                    let bytes = self.take(length)?.to_vec();
                    self.push(Node::Bytes(bytes));
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
                b'b' => {
                    // That of a dictionary, such as the versions of a state dict, says nothing.
                    let (given, object) = (self.pop()?, self.top()?);
                    if let Node::Call { state, .. } = &mut self.nodes[object] {
                        *state = Some(given);
                    }
                }
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
                0x97 | 0x98 => return Err("some of it lies outside of the pickle".to_owned()),
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
                let digits = line.trim_end_matches('L');
                match digits.parse() {
                    Ok(value) => value,
                    // As below.
                    Err(_) if is_large(digits) => {
                        self.push(Node::Other);
                        return Ok(());
                    }
                    Err(_) => return Err(format!("'{line}' for a number")),
                }
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
        let node = match opcode {
            b'V' => Node::Text(raw_unicode(self.raw_line()?)),
            b'S' => text_or_bytes(string(self.raw_line()?)),
            _ => {
                let length = self.length(opcode)?;
                let bytes = self.take(length)?;
                match opcode {
                    b'U' | b'T' => text_or_bytes(bytes.to_vec()),
                    _ => Node::Text(String::from_utf8_lossy(bytes).into_owned()),
                }
            }
        };
        self.push(node);
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

    fn call(&mut self, function: NodeId, arguments: NodeId) -> Result<(), String> {
        let makes_dict =
            matches!(&self.nodes[function], Node::Global(name) if DICTS.contains(&name.as_str()));
        if makes_dict {
            self.charge(self.items_of(arguments).map_or(0, <[NodeId]>::len))?;
            let entries = self.entries_of(arguments).unwrap_or_default();
            self.push(Node::Dict(entries));
        } else {
            self.push(Node::Call { function, arguments, state: None });
        }
        Ok(())
    }

    /// The pairs of `OrderedDict([(key, value), …])`.
    fn items_of(&self, arguments: NodeId) -> Option<&[NodeId]> {
        let Node::Tuple(arguments) = &self.nodes[arguments] else { return None };
        match &self.nodes[*arguments.first()?] {
            Node::List(items) | Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    fn entries_of(&self, arguments: NodeId) -> Option<Vec<(NodeId, NodeId)>> {
        let pair = |item: &NodeId| match &self.nodes[*item] {
            Node::Tuple(pair) | Node::List(pair) => Some((*pair.first()?, *pair.get(1)?)),
            _ => None,
        };
        self.items_of(arguments)?.iter().map(pair).collect()
    }

    fn extend_list(&mut self, items: Vec<NodeId>) -> Result<(), String> {
        let top = self.top()?;
        if let Node::List(list) = &mut self.nodes[top] {
            list.extend(items);
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: Vec<(NodeId, NodeId)>) -> Result<(), String> {
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
        Ok(String::from_utf8_lossy(self.raw_line()?).into_owned())
    }

    /// A line without its end.
    fn raw_line(&mut self) -> Result<&'a [u8], String> {
        let bytes: &'a [u8] = self.bytes;
        let rest = &bytes[self.position..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or("a line without end")?;
        self.position += length + 1;
        let line = &rest[..length];
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    fn top(&self) -> Result<NodeId, String> {
        Ok(*self.stack.last().ok_or(UNDERFLOW)?)
    }

    fn pop(&mut self) -> Result<NodeId, String> {
        Ok(self.stack.pop().ok_or(UNDERFLOW)?)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<NodeId>, String> {
        let height = self.marks.pop().ok_or("no mark")?;
        if height > self.stack.len() {
            return Err(UNDERFLOW.to_owned());
        }
        Ok(self.stack.split_off(height))
    }
}

/// What Python 2 calls a string may be either.
fn text_or_bytes(bytes: Vec<u8>) -> Node {
    String::from_utf8(bytes).map_or_else(|error| Node::Bytes(error.into_bytes()), Node::Text)
}

const UNDERFLOW: &str = "it takes more values than it makes";

fn pairs(items: &[NodeId]) -> Result<Vec<(NodeId, NodeId)>, String> {
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

/// Whether these are the digits of a number of more than 64 bits, such as old files begin with.
fn is_large(digits: &str) -> bool {
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    digits.len() > 18 && digits.bytes().all(|digit| digit.is_ascii_digit())
}
