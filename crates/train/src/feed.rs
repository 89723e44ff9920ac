//! Batches read ahead on their own thread, so that the disk and the kernels work at the same time.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;
use untangle_store::{RowBlock, RowSource, StoreError};

/// Batches of a range of indices, in order; two are in memory at a time.
pub(crate) struct Feed {
    filled: Receiver<Result<RowBlock, StoreError>>,
    empty: SyncSender<RowBlock>,
}

impl Feed {
    /// Starts to read. The thread ends with the range, after an error, or when the feed is dropped.
    pub(crate) fn start<'scope, 'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        source: &'env mut dyn RowSource,
        indices: Range<u64>,
    ) -> Self {
        let (to_trainer, filled) = sync_channel(1);
        let (empty, from_trainer) = sync_channel::<RowBlock>(2);
        scope.spawn(move || {
            for index in indices {
                let mut block = from_trainer.try_recv().unwrap_or_default();
                let result = source.read(index, &mut block).map(|()| block);
                let failed = result.is_err();
                if to_trainer.send(result).is_err() || failed {
                    return;
                }
            }
        });
        Feed { filled, empty }
    }

    /// The next batch; none when the range is at its end.
    pub(crate) fn next(&self) -> Option<Result<RowBlock, StoreError>> {
        self.filled.recv().ok()
    }

    /// Gives a batch's memory back.
    pub(crate) fn recycle(&self, block: RowBlock) {
        // A reader that has finished needs no more memory.
        let _ = self.empty.try_send(block);
    }
}
