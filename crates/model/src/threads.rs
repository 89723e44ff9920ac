//! How many of libtorch's threads serve the passes of a thread?

/// Has the calling thread's passes run on this many of libtorch's threads, and makes the setting this thread's own.
///
/// The number that was set last, by whichever thread, is also what a thread begins with at its first use of libtorch's
/// threads, whatever it has set before. Asking for the number is such a use, so it comes first.
pub fn give_this_thread(threads: usize) {
    let _ = tch::get_num_threads();
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}

/// Narrower models than this run on one of libtorch's threads.
const WIDTH_WORTH_THREADS: usize = 256;

/// How many of `threads` a pass of a model of width `d_model` should use.
///
/// libtorch divides every single product among its threads and has them wait for each other, spinning. For narrow
/// models that costs more than it gives: at width 64, one thread reads 105,000 tokens/s and two, on a machine that has
/// other work as well, 6,000.
pub fn worthwhile(d_model: usize, threads: usize) -> usize {
    if d_model < WIDTH_WORTH_THREADS { 1 } else { threads }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_thread_that_asks_for_one_thread_leaves_this_one_its_own() {
        let seen = thread::spawn(|| {
            give_this_thread(2);
            thread::spawn(|| give_this_thread(1)).join().expect("no panic");
            tch::get_num_threads()
        });
        assert_eq!(seen.join().expect("no panic"), 2);
    }
}
