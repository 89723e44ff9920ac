//! Which small files do this crate's tests share?
#![allow(dead_code, unreachable_pub, reason = "every test binary uses its own part")]

use std::path::Path;
use untangle_schema::capture::{HookColumn, row_flags};
use untangle_schema::{BosPolicy, CaptureManifest, CorpusFile, HookPoint, ModelIdentity, Site, StoreDtype};
use untangle_store::{Partial, Rows, StoreWriter};

/// A manifest of `n_rows` rows with one hook per width, in f16.
pub fn manifest(n_rows: u64, widths: &[usize]) -> CaptureManifest {
    let hook = |layer| HookPoint::block(layer, Site::ResidPost);
    CaptureManifest {
        tool_version: "0".into(),
        model: ModelIdentity {
            name: "tiny".into(),
            revision: None,
            model_type: "gpt2".into(),
            weights_sha256: "00".into(),
            tokenizer_sha256: "11".into(),
        },
        hooks: widths.iter().enumerate().map(|(i, d_in)| HookColumn { hook: hook(i), d_in: *d_in }).collect(),
        n_rows,
        n_documents: n_rows.div_ceil(DOCUMENT),
        shard: None,
        context: CONTEXT as usize,
        pad: false,
        batch: 2,
        bos: BosPolicy::Auto,
        bos_token: Some(1),
        compute_dtype: "f32".into(),
        store_dtype: StoreDtype::F16,
        chat_template_sha256: None,
        corpus: vec![CorpusFile { name: "a.txt".into(), bytes: 3, sha256: "22".into(), field: None }],
        seed: 0,
    }
}

/// Rows per document.
pub const DOCUMENT: u64 = 10;
/// Rows per context; the first of each is BOS.
pub const CONTEXT: u64 = 8;

/// Row `row` of hook `hook`: small multiples of 1/8, exact in every stored type.
pub fn row(hook: usize, row: u64, d: usize) -> Vec<f32> {
    let value = |j: usize| ((row as usize * 7 + j * 3 + hook * 5) % 128) as f32 / 8.0 - 4.0;
    (0..d).map(value).collect()
}

/// The flags of a row.
pub fn flags(row: u64) -> u8 {
    if row.is_multiple_of(CONTEXT) { row_flags::BOS | row_flags::SPECIAL } else { 0 }
}

/// Rows `from..to` of the file that `manifest` describes, in owned buffers.
pub struct Chunk {
    pub tokens: Vec<u32>,
    pub documents: Vec<u32>,
    pub positions: Vec<u32>,
    pub offsets: Vec<u64>,
    pub flags: Vec<u8>,
    pub columns: Vec<Vec<f32>>,
}

impl Chunk {
    pub fn new(manifest: &CaptureManifest, rows: std::ops::Range<u64>) -> Self {
        let column = |(hook, d): (usize, usize)| rows.clone().flat_map(|r| row(hook, r, d)).collect();
        Chunk {
            tokens: rows.clone().map(|r| (r * 3 % 50) as u32).collect(),
            documents: rows.clone().map(|r| (r / DOCUMENT) as u32).collect(),
            positions: rows.clone().map(|r| (r % CONTEXT) as u32).collect(),
            offsets: rows.clone().map(|r| r % DOCUMENT * 5).collect(),
            flags: rows.clone().map(flags).collect(),
            columns: manifest.hooks.iter().map(|hook| hook.d_in).enumerate().map(column).collect(),
        }
    }

    pub fn append(&self, writer: &mut StoreWriter) {
        let columns: Vec<&[f32]> = self.columns.iter().map(Vec::as_slice).collect();
        writer.append(&self.rows(&columns)).expect("appended");
    }

    /// The rows, with columns that were borrowed from here.
    pub fn rows<'a>(&'a self, columns: &'a [&'a [f32]]) -> Rows<'a> {
        let Chunk { tokens, documents, positions, offsets, flags, .. } = self;
        Rows { tokens, documents, positions, offsets, flags, columns }
    }
}

/// Writes a whole file.
pub fn write(path: &Path, manifest: &CaptureManifest) {
    let partial = Partial::claim(path, false).expect("claimed");
    let mut writer = StoreWriter::open(partial, manifest.clone()).expect("opened");
    Chunk::new(manifest, 0..manifest.n_rows).append(&mut writer);
    writer.finish().expect("finished");
}

/// Writes a NumPy file of version 1.
pub fn write_npy(path: &Path, n: usize, d: usize, values: &[f32]) {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, {d}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    std::fs::write(path, bytes).expect("written");
}
