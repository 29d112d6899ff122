//! NumPy's file format, version 1.0: what `numpy.load` reads.

/// An array of one dimension, 32-bit numbers.
pub(super) fn one_dimensional(values: &[f32]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", values.len());
    // Magic, version and length take 10 bytes; data begins at a multiple of 64, after a line's end.
    let padding = 64 - (10 + header.len() + 1) % 64;
    header.extend(std::iter::repeat_n(' ', padding % 64));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_begins_at_a_multiple_of_64() {
        for count in [0, 1, 9, 10, 12_345] {
            let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
            let bytes = one_dimensional(&values);
            let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
            assert_eq!((10 + length) % 64, 0);
            assert_eq!(bytes[10 + length - 1], b'\n');
            assert_eq!(bytes.len(), 10 + length + 4 * count);
            let header = String::from_utf8_lossy(&bytes[10..10 + length]).into_owned();
            assert!(header.contains(&format!("'shape': ({count},)")), "{header}");
        }
    }
}
