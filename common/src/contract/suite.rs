//! The macro that turns every law into a test of one adapter.

/// Makes a module with one test per law of the seams.
///
/// `$make` is the path, as seen from the calling module, of an async function without arguments that answers
/// a fresh, empty [`Fixture`](crate::contract::Fixture). The calling crate needs `tokio` with the multi-threaded runtime.
///
/// ```text
/// slipway_common::contract_suite!(embedded, EmbeddedFixture::make);
/// ```
#[macro_export]
macro_rules! contract_suite {
    ($module:ident, $make:path) => {
        mod $module {
            use super::*;

            $crate::contract_suite!(@laws $make, queue: [
                q1_survives_restart,
                q2_delivers_until_completed,
                q2_delivers_again_after_restart,
                q3_a_claim_is_exclusive,
                q3_concurrent_claims_share_nothing,
                q3_a_lost_claim_is_powerless,
                q4_tokens_grow,
                q5_parked_until_its_time,
                q5_stays_parked_across_restart,
                q5_woken_at_once,
                q6_enqueue_is_idempotent,
                q7_counts_deliveries,
                q8_buried_is_kept,
                q8_requeued_or_discarded,
                q9_oldest_first_in_a_project,
                q9_fair_between_projects,
                wait_is_a_prompt_hint,
                depth_counts_every_place,
            ]);
            $crate::contract_suite!(@laws $make, ledger: [
                l1_survives_restart,
                l2_ordered_and_exact,
                l2_together_is_one_after_another,
                l2_concurrent_appends_are_complete,
                l3_resumes_exactly,
            ]);
            $crate::contract_suite!(@store $make);
            $crate::contract_suite!(@inquiry $make);
            $crate::contract_suite!(@metric $make);
            $crate::contract_suite!(@autoscaler $make);
            $crate::contract_suite!(@projects $make);
            $crate::contract_suite!(@agenda $make);
        }
    };
    (@store $make:path) => {
        $crate::contract_suite!(@laws $make, store: [
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
    };
    (@inquiry $make:path) => {
        $crate::contract_suite!(@laws $make, inquiry: [
            a1_a_question_is_given_to_one_taker,
            a2_an_answer_reaches_its_asker,
            a3_a_question_nobody_answers_is_over_in_time,
            a4_an_expired_question_is_given_to_nobody,
            a5_no_more_wait_than_may,
            a6_nothing_remains_when_it_is_over,
        ]);
    };
    (@autoscaler $make:path) => {
        $crate::contract_suite!(@laws $make, autoscaler: [
            h1_an_autoscaler_is_what_was_recorded_last,
            h1_all_are_answered_when_something_is_new,
            h1_deleting_it_deletes_everything_of_its_place,
            h2_a_replay_gives_the_same_autoscalers,
            h3_the_largest_fencing_token_wins,
            h3_concurrent_states_leave_the_largest_token,
            h3_many_states_are_put_together,
            h4_decisions_are_numbered_in_order,
            h4_the_newest_decisions_are_kept,
            h4_concurrent_appends_leave_no_gap,
            h5_observations_come_back_in_order,
            h5_the_newest_observations_are_kept,
            h6_who_announced_itself_is_present,
            h7_what_was_learned_is_what_was_put_last,
        ]);
    };
    (@projects $make:path) => {
        $crate::contract_suite!(@laws $make, projects: [
            p1_a_project_is_what_was_recorded_last,
            p1_deleting_it_deletes_its_heads,
            p2_pages_are_complete_and_in_order,
            p3_every_hook_is_found,
            p4_heads_are_what_was_seen_or_accepted_last,
            p5_a_replay_gives_the_same_projects_and_heads,
        ]);
    };
    (@agenda $make:path) => {
        $crate::contract_suite!(@laws $make, agenda: [
            g1_an_entry_is_claimed_when_its_time_has_come,
            g2_a_claim_is_exclusive_until_it_is_over,
            g2_concurrent_claims_share_nothing,
            g3_what_was_noted_meanwhile_is_due_again,
            g4_an_overtaken_claim_settles_nothing,
            g5_the_memo_is_what_was_settled_last,
            g6_claims_are_in_the_order_of_times,
            g7_a_renewed_claim_is_exclusive_for_longer,
            deliveries_and_projects_are_noted,
            a_wait_ends_when_something_is_noted,
        ]);
    };
    (@metric $make:path) => {
        $crate::contract_suite!(@laws $make, metric: [
            m1_events_reach_every_subscriber_in_order,
            m1_as_many_as_may_be_published_arrive,
            m2_nothing_is_kept_for_who_is_not_there,
            m3_a_slow_subscriber_loses_the_oldest_and_is_told,
            m5_a_subscription_outlives_a_connection,
        ]);
    };
    (@laws $make:path, $seam:ident: [$($law:ident,)*]) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                let fixture = $make().await;
                $crate::contract::$seam::$law(&fixture).await;
            }
        )*
    };
}
