//! What may happen.

use proptest::prelude::*;
use tiproxy_operator::api::name;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Deletion {
    Background,
    Foreground,
    Orphan,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Begin {
    Unreadable,
    /// So many seconds from now.
    In(i64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// The operator looks at caches that are so many states old, and crashes before this write.
    Reconcile {
        lags: [usize; 4],
        crash: Option<usize>,
    },
    /// The operator starts again.
    Restart,
    Advance(u64),
    Run,
    Ready,
    Unready,
    Evict,
    Succeed,
    /// A Pod that was ending is gone.
    End,
    /// The garbage collector does a round.
    Collect,
    DeletePod,
    ForceDeletePod,
    DeleteConfigMap,
    EditConfigMap,
    StripLabel(&'static str),
    ForeignPod,
    ForeignConfigMap,
    ForeignClaim,
    RemoveForeign,
    /// The storage driver does its work.
    Bind,
    DeleteClaim,
    StripClaim,
    /// The user asks for these volumes, by bits: `data`, `log`, and both larger.
    Volumes(u8),
    Retain(bool),
    Pause(bool),
    Suspend(bool),
    /// The group takes the TiProxy away, or keeps it after all.
    Offline(bool),
    /// How long clients have to leave, by a short list.
    Drain(u8),
    /// So many clients are connected; they stay until this comes again.
    Clients(u64),
    /// Whether TiProxy's API can be reached.
    Reach(bool),
    /// TiProxy is asked.
    Poll,
    /// The container ends, and waits to be started again.
    Crash,
    /// Somebody writes a begin of the leave on the Pod, or takes it away.
    Begin(Option<Begin>),
    /// Somebody puts the serving label on the Pod, or takes it away.
    Serve(bool),
    Version(u8),
    InPlace(u8),
    Metadata(u8),
    Invalid,
    Delete(Deletion),
    DropFinalizer,
    Recreate,
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let lag = || 0..6_usize;
    let crash = prop_oneof![4 => Just(None), 1 => (0..3_usize).prop_map(Some)];
    let how = prop_oneof![
        Just(Deletion::Background),
        Just(Deletion::Foreground),
        Just(Deletion::Orphan)
    ];
    let label = prop_oneof![
        Just(name::LABEL_REVISION),
        Just(name::LABEL_CLUSTER),
        Just("app.kubernetes.io/name")
    ];
    let begin = prop_oneof![
        Just(None),
        Just(Some(Begin::Unreadable)),
        (-700..7000_i64).prop_map(|seconds| Some(Begin::In(seconds))),
    ];
    let leave = prop_oneof![
        3 => any::<bool>().prop_map(Event::Suspend),
        6 => any::<bool>().prop_map(Event::Offline),
        4 => (0..5_u8).prop_map(Event::Drain),
        6 => (0..3_u64).prop_map(Event::Clients),
        2 => any::<bool>().prop_map(Event::Reach),
        12 => Just(Event::Poll),
        2 => Just(Event::Crash),
        3 => begin.prop_map(Event::Begin),
        6 => any::<bool>().prop_map(Event::Serve),
    ];
    prop_oneof![
        40 => leave,
        40 => ([lag(), lag(), lag(), lag()], crash).prop_map(|(lags, crash)| Event::Reconcile { lags, crash }),
        20 => Just(Event::Reconcile { lags: [0; 4], crash: None }),
        1 => Just(Event::Restart),
        6 => (1..400_u64).prop_map(Event::Advance),
        6 => (1..20_u64).prop_map(Event::Advance),
        16 => Just(Event::Run),
        10 => Just(Event::Ready),
        3 => Just(Event::Unready),
        2 => Just(Event::Evict),
        1 => Just(Event::Succeed),
        12 => Just(Event::End),
        8 => Just(Event::Collect),
        3 => Just(Event::DeletePod),
        2 => Just(Event::ForceDeletePod),
        2 => Just(Event::DeleteConfigMap),
        2 => Just(Event::EditConfigMap),
        3 => label.prop_map(Event::StripLabel),
        1 => Just(Event::ForeignPod),
        1 => Just(Event::ForeignConfigMap),
        1 => Just(Event::ForeignClaim),
        12 => Just(Event::Bind),
        1 => Just(Event::DeleteClaim),
        1 => Just(Event::StripClaim),
        4 => (0..8_u8).prop_map(Event::Volumes),
        3 => any::<bool>().prop_map(Event::Retain),
        2 => Just(Event::RemoveForeign),
        2 => any::<bool>().prop_map(Event::Pause),
        8 => (0..3_u8).prop_map(Event::Version),
        2 => (0..3_u8).prop_map(Event::InPlace),
        3 => (0..4_u8).prop_map(Event::Metadata),
        1 => Just(Event::Invalid),
        3 => how.prop_map(Event::Delete),
        1 => Just(Event::DropFinalizer),
        5 => Just(Event::Recreate),
    ]
}
