//! The same work on many things, on all processors: imports of thousands of accounts.

/// Fewer things than this are not worth another thread.
const WORTH: usize = 32;

/// `work` on each of `items`, in their order. Blocks; ends at the first error of each part.
pub(crate) fn map<T, R, E>(items: Vec<T>, work: impl Fn(T) -> Result<R, E> + Sync) -> Result<Vec<R>, E>
where
    T: Send,
    R: Send,
    E: Send,
{
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = items.len().div_ceil(threads).max(WORTH);
    if items.len() <= share {
        return items.into_iter().map(work).collect();
    }
    let mut parts = Vec::new();
    let mut items = items.into_iter();
    while items.len() > 0 {
        parts.push(items.by_ref().take(share).collect::<Vec<T>>());
    }
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(move || part.into_iter().map(work).collect::<Result<Vec<R>, E>>()))
            .collect();
        let mut all = Vec::new();
        for thread in running {
            match thread.join() {
                Ok(part) => all.extend(part?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn order_is_kept_and_errors_come_out() {
        let doubled: Result<Vec<u32>, ()> = map((0..1000).collect(), |n: u32| Ok(n * 2));
        assert_eq!(doubled, Ok((0..1000).map(|n| n * 2).collect()));
        assert_eq!(map((0..1000).collect(), |n: u32| if n == 700 { Err(n) } else { Ok(n) }), Err(700));
    }
}
