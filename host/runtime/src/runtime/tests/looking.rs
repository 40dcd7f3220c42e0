//! Tests the stacks that are seen of a guest while it goes on.

use std::sync::Arc;
use std::time::Duration;

use crate::attempt::Stop;

use super::accounts::{ENDLESS, ROUNDS, telling};
use super::rig::{Rig, order, task};

/// The instruction `call`.
const CALL: u8 = 0x10;

/// Takes 2,000 samples of a guest: for each, whether its innermost frame is at a call, and whether its stack is marked
/// as ahead.
async fn seen(rig: &Rig, wasm: Vec<u8>) -> Vec<(bool, bool)> {
    const MOMENTS: usize = 2_000;
    let task = Arc::new(task());
    let prepared = rig.prepare(wasm.clone(), &task).await.unwrap();
    let order = order(&task);
    let handle = Arc::clone(&order.handle);
    let look = handle.sampler.look(Some(Duration::ZERO), MOMENTS).unwrap();

    let run = rig.runtime.run(&prepared, order);
    tokio::pin!(run);
    let enough = async {
        while look.count() < MOMENTS {
            tokio::time::sleep(Duration::from_millis(1)).await; // a guest gives no signal
        }
    };
    tokio::select! {
        ended = &mut run => panic!("it ended by itself: {ended:?}"),
        () = enough => handle.stop(Stop::Killed("enough".into())),
    }
    run.await;

    let taken = look.taken();
    let innermost = taken.samples.iter().map(|sample| &taken.frames[sample.stack[0] as usize]);
    innermost.map(|frame| (wasm[frame.offset()] == CALL, frame.is_ahead())).collect()
}

#[tokio::test]
async fn a_sample_shows_where_a_guest_yields_and_not_where_it_last_called_the_host() {
    let rig = Rig::new();

    // Both the end of a slice of fuel and the ticker cut the guest, and it makes a few calls for each cut.
    let seen = seen(&rig, telling(ROUNDS, ENDLESS, "get", false)).await;

    let count = |what| seen.iter().filter(|seen| **seen == what).count();
    let (in_call, in_yield) = (count((true, false)), count((false, true)));
    assert!(in_call > 100 && in_yield > 100, "{in_call} in calls, {in_yield} in yields");
    assert_eq!((count((true, true)), count((false, false))), (0, 0), "calls as yields, yields as calls");
}
