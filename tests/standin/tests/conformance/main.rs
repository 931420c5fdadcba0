//! What TiProxy does towards those who run it, checked on the stand-in: in both version lines, or on a real TiProxy.
//!
//! With `TIPROXY_BIN` naming a TiProxy binary, the tests of its line (`TIPROXY_LINE`, `v1.3` or `v26`) run against that
//! instead, on the loopback interface, with an etcd in the place of PD and with TiDBs that only greet and answer.
//! etcd is that of the local control plane (`hack/local-cluster.sh`), or what `ETCD_BIN` names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod certificates;
#[path = "../../../tls/combination.rs"]
mod combination;
mod subject;
mod world;

use tiproxy_standin::testing::{etcd, http, mysql, tidb, wait};

mod check;
mod client;
mod key;
mod matrix;

/// Each check as a test of either line.
macro_rules! checks {
    ($($module:ident :: $check:ident,)*) => {
        mod v1_3 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                crate::check::$module::$check(tiproxy_standin::flags::Line::V1_3).await;
            })*
        }
        mod v26 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                crate::check::$module::$check(tiproxy_standin::flags::Line::V26).await;
            })*
        }
    };
}

checks! {
    start::what_is_wrong_at_the_start_ends_it,
    start::the_keys_are_those_that_it_prints,
    config::texts_are_laid_over_what_is_in_force,
    config::the_file_is_read_again_and_a_bad_one_changes_nothing,
    config::the_flag_beats_file_and_api,
    config::a_path_without_its_slash_is_redirected,
    health::it_needs_a_healthy_tidb_whatever_its_labels,
    health::it_can_be_ordered_in_the_newer_line_only,
    operator::one_that_leaves_is_marked_and_our_mark_only_is_taken_back,
    operator::every_key_is_told_until_it_is_in_effect,
    routing::a_label_that_no_tidb_has_shows_in_the_scores_only,
    routing::sessions_move_to_the_tidb_with_the_label,
    routing::sessions_that_cannot_move_stay,
    sql::clients_are_counted,
    sql::more_clients_than_allowed_are_dropped,
    tls::tls_is_offered_to_clients_and_not_demanded,
    tls::a_certificate_of_a_client_is_judged,
    tls::without_tls_to_tidb_a_client_is_refused_where_it_is_required,
    tls::new_certificates_are_used,
    tls::the_api_port_with_tls,
    shutdown::the_end_has_its_order,
    shutdown::a_transaction_is_cut_at_the_deadline,
    shutdown::a_change_after_the_signal,
}
