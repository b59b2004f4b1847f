//! What a source does when, and how long it waits.

use riacho_core::source::machine::{Fault, FaultKind, Input, Machine, Output, State};

fn fault(kind: FaultKind) -> Input {
    Input::Failed(match kind {
        FaultKind::Passing => Fault::passing("gone"),
        FaultKind::NeedsPerson => Fault::evident("gone"),
    })
}

fn tables(ready: bool) -> Input {
    Input::Tables(vec![("t".to_owned(), "public.t".to_owned(), ready)])
}

#[test]
fn a_source_goes_from_its_copies_over_catching_up_to_live() {
    let mut machine = Machine::new(0);
    let mut states = vec![machine.state().as_str()];
    for input in [
        Input::Connected,
        tables(false),
        Input::CopyBegan("t".to_owned(), Some(9)),
        Input::Copied("t".to_owned(), 5),
        Input::Ready("t".to_owned()),
        Input::Level(true),
        Input::CopyBegan("t".to_owned(), None),
        Input::Ready("t".to_owned()),
    ] {
        assert_eq!(machine.handle(1, 0, input), None);
        states.push(machine.state().as_str());
    }
    let wanted =
        "connecting catching_up snapshotting snapshotting snapshotting catching_up live snapshotting live";
    assert_eq!(states.join(" "), wanted);
}

#[test]
fn what_may_pass_is_tried_again_after_a_growing_random_time() {
    let mut machine = Machine::new(0);
    let mut now = 0;
    let mut most = Vec::new();
    for _ in 0..12 {
        let Some(Output::WakeAt(until)) = machine.handle(now, u64::MAX, fault(FaultKind::Passing)) else {
            panic!()
        };
        assert_eq!(machine.state(), State::BackingOff(until));
        let Some(Output::WakeAt(soon)) = machine.clone().handle(now, 0, fault(FaultKind::Passing)) else {
            panic!()
        };
        assert_eq!(soon - now, 100, "never at once");
        most.push(until - now);
        // Not before; and what the old connection still says changes nothing.
        assert_eq!(machine.handle(until - 1, 0, Input::Tick), Some(Output::WakeAt(until)));
        assert_eq!(machine.handle(until - 1, 0, Input::Level(true)), None);
        assert_eq!(machine.state(), State::BackingOff(until));
        now = until;
        assert_eq!(machine.handle(now, 0, Input::Tick), Some(Output::Connect));
    }
    assert!(most.iter().all(|wait| (100..=30_000).contains(wait)), "{most:?}");
    // What was live for long begins anew with short waits.
    machine.handle(now, 0, Input::Connected);
    machine.handle(now, 0, tables(true));
    machine.handle(now, 0, Input::Level(true));
    assert_eq!(machine.state(), State::Live);
    let Some(Output::WakeAt(until)) = machine.handle(now + 10_000, u64::MAX, fault(FaultKind::Passing))
    else {
        panic!()
    };
    assert!(until - now - 10_000 <= 500);
}

#[test]
fn what_needs_a_person_is_tried_seldom_or_when_asked() {
    let mut machine = Machine::new(0);
    let Some(Output::WakeAt(until)) = machine.handle(5, 77, fault(FaultKind::NeedsPerson)) else { panic!() };
    assert!((30_000..40_005).contains(&until) && machine.state() == State::Broken(until));
    assert_eq!(machine.last_fault().unwrap().0, 5);
    assert_eq!(machine.handle(6, 0, Input::Resume), Some(Output::Connect));
    assert_eq!(machine.handle(7, 0, Input::Pause), Some(Output::Disconnect));
    for input in [fault(FaultKind::Passing), Input::Tick, Input::Connected, tables(true), Input::Level(true)]
    {
        assert_eq!(machine.handle(8, 0, input), None);
        assert_eq!(machine.state(), State::Paused);
    }
    assert_eq!(machine.handle(9, 0, Input::Resume), Some(Output::Connect));
    assert!(machine.last_fault().is_some(), "also after it has passed");
}

#[test]
fn a_fault_says_what_is_wrong_and_what_to_do() {
    let fault = Fault::needs_person("no key", "add one");
    assert_eq!((fault.kind, fault.remedy.as_deref()), (FaultKind::NeedsPerson, Some("add one")));
    let fault = Fault::passing("locked").with_remedy("wait");
    assert_eq!(
        (fault.kind, &*fault.message, fault.remedy.as_deref()),
        (FaultKind::Passing, "locked", Some("wait"))
    );
}
