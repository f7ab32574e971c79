//! Tests of the store: the laws of the contract on a private Redis, and what the laws do not say.

mod faults;
pub(in crate::distributed) mod fixture;
mod order;

use fixture::Installation;

crate::contract_suite!(@laws Installation::make, store: [
    s1_is_the_fold_of_its_events,
    s1_survives_restart,
    s2_applying_twice_is_applying_once,
    s3_an_illegal_event_changes_nothing,
    s3_what_comes_before_an_illegal_event_stays,
    s4_numbers_have_no_gaps,
    s5_pages_are_complete_and_newest_first,
    s5_filters_and_totals,
    s5_newest_and_in_service,
    s6_one_holder_at_a_time,
    s6_fences_grow,
    s6_concurrent_holders_exclude_each_other,
    s7_the_first_reservation_wins,
    s7_concurrent_reservations_agree,
    s8_a_log_is_its_lines_in_order,
    s8_a_full_log_is_cut_with_one_marker,
    s9_a_replay_gives_an_equal_store,
    s9_credentials_and_tokens,
    live_states_are_the_latest,
    changes_are_hinted,
    check_says_whether_it_works,
]);
