//! A cache takes the memory that was said beforehand.

use crate::support::{fixture, tokens};
use untangle_model::{Input, KvCache, NoHook};

#[test]
fn buffers_of_a_cache_are_as_large_as_was_said_beforehand() {
    let model = fixture("llama");
    let (rows, columns) = (3, 13);
    let tokens = tokens(&model, rows, columns);
    let planned = KvCache::bytes_for(model.config(), model.kind(), rows as usize, columns as usize);
    // Two vectors for each layer, head of keys and token, of four bytes a number.
    let attention = &model.config().attention;
    let of_token = 2 * model.config().n_layers * attention.n_kv_heads * attention.d_head * 4;
    assert_eq!(planned, (of_token as i64 * rows * columns) as u64);
    let read = |mut cache: KvCache| {
        for at in 0..columns {
            model.forward_with(&Input::new(&tokens.narrow(1, at, 1)), Some(&mut cache), &mut NoHook).unwrap();
        }
        cache.bytes()
    };
    assert_eq!(read(KvCache::new(model.config()).at_most(columns as usize)), planned);
    assert!(read(KvCache::new(model.config())) > planned, "buffers that know no end double");
    let most = read(KvCache::new(model.config()).at_most(5));
    assert!(most >= planned, "more tokens than were announced have room, too: {most}");
}
