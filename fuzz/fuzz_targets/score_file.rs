//! Score files: text and arrays of NumPy. What is read comes back to the last bit from both.

#![no_main]

use isomax_bench::scores;
use isomax_fuzz::scratch;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = scratch::write("scores", bytes);
    let found = match scores::read(&path) {
        Ok(found) => found,
        Err(error) => {
            let (message, path) = (error.to_string(), path.display().to_string());
            assert!(message.starts_with(&path), "{message} does not name the file");
            return;
        }
    };
    assert!(!found.is_empty() && found.len() <= bytes.len());
    assert!(found.iter().all(|score| !score.is_nan()));
    let text: String = found.iter().map(|score| format!("{score}\n")).collect();
    for (form, written) in [("text", text.into_bytes()), ("npy", npy(&found))] {
        let read = scores::read(scratch::write("again", written)).expect(form);
        assert!(read.iter().map(|score| score.to_bits()).eq(bits(&found)), "{form}: {read:?}");
    }
});

fn bits(scores: &[f64]) -> impl Iterator<Item = u64> {
    scores.iter().map(|score| score.to_bits())
}

/// As `numpy.save` writes them.
fn npy(scores: &[f64]) -> Vec<u8> {
    let count = scores.len();
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({count},), }}\n");
    let length = (header.len() as u16).to_le_bytes();
    let values: Vec<u8> = scores.iter().flat_map(|score| score.to_le_bytes()).collect();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), &values].concat()
}
