//! How bytes lie that are multiplied, and what one product is of: what all kernels of bytes agree on.

/// Latents whose weights lie together: two registers of sixteen sums.
pub const PANEL: usize = 32;
/// Rows that are multiplied together: with two registers of weights, sixteen sums in flight hide the latency.
pub const GROUP: usize = 8;
/// Dimensions that one instruction sums.
pub(super) const QUAD: usize = 4;
/// Bytes of four dimensions of a panel.
pub(super) const STRIDE: usize = PANEL * QUAD;

/// A product to do: a group of rows with some panels of weights.
#[derive(Debug)]
pub(super) struct Task<'a> {
    /// `[GROUP, bytes]`
    pub(super) rows: &'a [i8],
    /// `[GROUP]`
    pub(super) row_scales: &'a [f32; GROUP],
    /// `[GROUP]`
    pub(super) starts: &'a [i32; GROUP],
    /// `[panels, bytes / QUAD, PANEL, QUAD]`
    pub(super) packed: &'a [u8],
    /// `[panels * PANEL]`
    pub(super) scales: &'a [f32],
    /// Of a row.
    pub(super) bytes: usize,
}
