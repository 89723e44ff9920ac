//! Is what reading a dictionary takes asked for before, and is no more asked for than is taken?
//!
//! What is asked for is the largest request of all, made before the others and given back at once.
#![allow(unsafe_code, reason = "an allocator that counts")]

use safetensors::tensor::{Dtype, TensorView};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use untangle_sae::{Crosscoder, Sae};

const D: usize = 256;
const F: usize = 16384;
/// What everything else may take: threads, configurations, biases.
const SLACK: usize = 3 << 20;

/// Bytes that are held, the most of them since the largest request was given back, and that request.
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn took(size: usize) {
    let held = HELD.fetch_add(size, SeqCst) + size;
    MOST.fetch_max(held, SeqCst);
    LARGEST.fetch_max(size, SeqCst);
}

// SAFETY: every request is passed on to the system's allocator as it is, and its answer as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let held = HELD.fetch_sub(layout.size(), SeqCst) - layout.size();
        if layout.size() == LARGEST.load(SeqCst) {
            MOST.store(held, SeqCst);
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Checks what `load` asks for against what it takes.
fn check(what: &str, load: impl FnOnce()) {
    let before = HELD.load(SeqCst);
    MOST.store(before, SeqCst);
    LARGEST.store(0, SeqCst);
    load();
    let (asked, taken) = (LARGEST.load(SeqCst), MOST.load(SeqCst) - before);
    assert!(taken <= asked + SLACK, "{what}: {taken} bytes are taken where {asked} were asked for");
    assert!(asked <= taken + taken / 4 + SLACK, "{what}: {asked} bytes are asked for where {taken} are taken");
}

/// A folder of a configuration and tensors of ones, whose bytes `one` gives.
fn folder(
    name: &str,
    config: &str,
    file: &str,
    tensors: &[(&str, Vec<usize>)],
    kind: (Dtype, &[u8]),
) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let place = dir.path().join(name);
    fs::create_dir_all(&place).expect("made");
    if !config.is_empty() {
        fs::write(place.join("cfg.json"), config).expect("written");
    }
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, shape)| kind.1.repeat(shape.iter().product())).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape), bytes)| (*name, TensorView::new(kind.0, shape.clone(), bytes).expect("fits")));
    fs::write(place.join(file), safetensors::serialize(views, None).expect("packed")).expect("written");
    dir
}

const ONES: (Dtype, &[u8]) = (Dtype::F32, &[0, 0, 128, 63]);
const HALVES: (Dtype, &[u8]) = (Dtype::BF16, &[128, 63]);

fn saelens(architecture: &str, kind: (Dtype, &[u8])) -> tempfile::TempDir {
    let transcoder =
        if architecture.contains("transcoder") { r#", "d_out": 256, "apply_b_dec_to_input": false"# } else { "" };
    let config = format!(r#"{{"d_in": {D}, "d_sae": {F}, "k": 8, "architecture": "{architecture}"{transcoder}}}"#);
    let mut tensors = vec![("W_enc", vec![D, F]), ("W_dec", vec![F, D]), ("b_enc", vec![F]), ("b_dec", vec![D])];
    if architecture.contains("jumprelu") {
        tensors.push(("threshold", vec![F]));
    }
    folder("x", &config, "sae_weights.safetensors", &tensors, kind)
}

/// A `params.npz` of ones, stored.
fn npz(dir: &Path) {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    let arrays =
        [("W_enc", vec![D, F]), ("W_dec", vec![F, D]), ("b_enc", vec![F]), ("b_dec", vec![D]), ("threshold", vec![F])];
    for (name, shape) in &arrays {
        let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
        let n: usize = shape.iter().map(|size| size.parse::<usize>().expect("a number")).product();
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}\n", shape.join(", "));
        let length = (header.len() as u16).to_le_bytes();
        let content = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &ONES.1.repeat(n)].concat();
        let size = (content.len() as u32).to_le_bytes();
        let common = [&[0; 12][..], &size, &size, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        let at = (bytes.len() as u32).to_le_bytes();
        directory.extend([b"PK\x01\x02", &[0; 2][..], &[0; 2], &common, &[0; 10], &at, name.as_bytes()].concat());
        bytes.extend([b"PK\x03\x04", &[0; 2][..], &common, name.as_bytes()].concat());
        bytes.extend(content);
    }
    let (at, count) = ((bytes.len() as u32).to_le_bytes(), (arrays.len() as u16).to_le_bytes());
    bytes.extend(directory);
    bytes.extend([b"PK\x05\x06", &[0; 4][..], &count, &count, &[0; 4], &at, &[0; 2]].concat());
    fs::write(dir.join("params.npz"), bytes).expect("written");
}

/// One test, so that nothing else asks for memory meanwhile.
#[test]
fn what_reading_takes_is_what_is_asked_for() {
    let load = |dir: &tempfile::TempDir, name: &str| drop(Sae::load(&dir.path().join(name)).expect("loads"));
    for (architecture, kind) in [("standard", ONES), ("jumprelu", ONES), ("topk", HALVES), ("transcoder", ONES)] {
        let dir = saelens(architecture, kind);
        check(architecture, || load(&dir, "x"));
    }
    let config = format!(r#"{{"d_in": {D}, "num_latents": {F}, "k": 8}}"#);
    let tensors =
        [("encoder.weight", vec![F, D]), ("encoder.bias", vec![F]), ("W_dec", vec![F, D]), ("b_dec", vec![D])];
    let dir = folder("layers.0", &config, "sae.safetensors", &tensors, ONES);
    check("sparsify", || load(&dir, "layers.0"));
    let tensors =
        [("w_enc", vec![D, F]), ("w_dec", vec![F, D]), ("b_enc", vec![F]), ("b_dec", vec![D]), ("threshold", vec![F])];
    for kind in [ONES, HALVES] {
        let dir = folder("x", "", "params.safetensors", &tensors, kind);
        check("Gemma Scope 2", || load(&dir, "x"));
    }
    let dir = tempfile::tempdir().expect("a folder");
    npz(dir.path());
    check("Gemma Scope", || load(&dir, "."));
    let part = r#"{"hook_name": "blocks.0.hook_resid_post", "scale": 1.0}"#;
    let config = format!(
        r#"{{"architecture": "crosscoder", "d_in": 128, "d_sae": {F}, "dtype": "float32", "parts": [{part}, {part}]}}"#
    );
    let tensors = [
        ("W_enc", vec![2, 128, F]),
        ("W_dec", vec![F, 2, 128]),
        ("b_enc", vec![F]),
        ("b_dec", vec![2, 128]),
        ("threshold", vec![F]),
    ];
    let dir = folder("x", &config, "sae_weights.safetensors", &tensors, ONES);
    check("crosscoder", || drop(Crosscoder::load(&dir.path().join("x")).expect("loads")));
}
