//! Writes MAT files.

use super::Order;
use std::io::Read;

fn number(order: Order, number: u32) -> [u8; 4] {
    match order {
        Order::Little => number.to_le_bytes(),
        Order::Big => number.to_be_bytes(),
    }
}

fn element(order: Order, kind: u32, data: &[u8]) -> Vec<u8> {
    let size = data.len() as u32;
    let mut bytes = match size {
        1..=4 => number(order, (size << 16) | kind).to_vec(),
        _ => [number(order, kind), number(order, size)].concat(),
    };
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// An array of a class, which flags may go with, and a type of storage.
pub(in crate::data) fn array(
    order: Order,
    class: u32,
    name: &str,
    dims: &[u32],
    storage: u32,
    data: &[u8],
) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| number(order, *dim)).collect();
    let parts = [
        element(order, 6, &[number(order, class), [0; 4]].concat()),
        element(order, 5, &dims),
        element(order, 1, name.as_bytes()),
        element(order, storage, data),
    ];
    element(order, 14, &parts.concat())
}

pub(in crate::data) fn file(order: Order, compressed: bool, arrays: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![b' '; 124];
    bytes.extend(match order {
        Order::Little => [0, 1, b'I', b'M'],
        Order::Big => [1, 0, b'M', b'I'],
    });
    for array in arrays {
        if !compressed {
            bytes.extend(array);
            continue;
        }
        let mut data = Vec::new();
        flate2::read::ZlibEncoder::new(array.as_slice(), flate2::Compression::default())
            .read_to_end(&mut data)
            .expect("memory can be read");
        bytes.extend(number(order, 15));
        bytes.extend(number(order, data.len() as u32));
        bytes.extend(data);
    }
    bytes
}
