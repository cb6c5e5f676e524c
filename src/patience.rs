//! Background work that lets calls go first.

/// Gives `items` one by one, and the core to other threads each time so many of them are done: nobody waits for
/// this work, and a system may look only every few milliseconds whether a thread has had its share.
pub fn patiently<I: IntoIterator>(
    items: I,
    at_once: usize,
) -> impl Iterator<Item = I::Item> + use<I> {
    items.into_iter().enumerate().map(move |(done, item)| {
        if done > 0 && done.is_multiple_of(at_once) {
            std::thread::yield_now();
        }
        item
    })
}
