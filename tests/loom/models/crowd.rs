//! Who is let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use beneath::net::TcpStream;
use loom::thread;
use tidegate_loom::crowd::{Crowd, Slot};
use tidegate_loom::names::Shed;

use crate::{in_every_order, join};

fn enter(crowd: &Arc<Crowd>, last: u8, limit: usize, own: Option<usize>) -> Result<Slot, Shed> {
    crowd.enter(&TcpStream, [192, 0, 2, last].into(), limit, own)
}

/// Three connections at once, from the same address and from others; never more than two are in.
fn three_come(limit: usize, own: Option<usize>, address: fn(u8) -> u8) {
    in_every_order(3, move || {
        let (crowd, inside) = (Arc::new(Crowd::default()), Arc::new(AtomicUsize::new(0)));
        let come = {
            let (crowd, inside) = (Arc::clone(&crowd), Arc::clone(&inside));
            move |number| {
                let slot = enter(&crowd, address(number), limit, own);
                if slot.is_ok() {
                    assert!(inside.fetch_add(1, Ordering::Relaxed) < 2);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::Relaxed);
                }
            }
        };
        let others = [1, 2].map(|number| {
            let come = come.clone();
            thread::spawn(move || come(number))
        });
        come(3);
        join(others);
        // All places are back, and no more than those.
        let places = [1, 2].map(|it| enter(&crowd, address(it), limit, own).unwrap());
        assert!(enter(&crowd, address(3), limit, own).is_err());
        drop(places);
    });
}

#[test]
fn never_more_than_may_be_open() {
    three_come(2, None, |number| number);
}

#[test]
fn never_more_than_may_be_open_from_one_address() {
    three_come(9, Some(2), |_| 1);
}

#[test]
fn who_is_refused_for_the_address_keeps_no_place() {
    in_every_order(3, || {
        let crowd = Arc::new(Crowd::default());
        let first = enter(&crowd, 1, 3, Some(1)).unwrap();
        let others = [(); 2].map(|()| {
            let crowd = Arc::clone(&crowd);
            thread::spawn(move || assert!(enter(&crowd, 1, 3, Some(1)).is_err()))
        });
        drop(enter(&crowd, 2, 9, Some(1)).unwrap());
        join(others);
        drop(first);
        let all = [1, 2, 3].map(|it| enter(&crowd, it, 3, Some(1)).unwrap());
        assert_eq!(enter(&crowd, 4, 3, Some(1)).unwrap_err(), Shed::Limit);
        drop(all);
    });
}
