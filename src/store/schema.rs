//! Table definitions, kept by hand and checked against both databases in tests.

diesel::table! {
    organisations (id) {
        id -> Text,
        name -> Text,
        currency -> Text,
        short_code -> Text,
        time_zone -> Text,
        approvals_needed -> Integer,
        created_at -> Timestamp,
    }
}

diesel::table! {
    members (id) {
        id -> Text,
        organisation_id -> Text,
        email -> Text,
        name -> Text,
        is_admin -> Bool,
        is_maker -> Bool,
        is_checker -> Bool,
        is_viewer -> Bool,
        state -> Text,
        password_hash -> Nullable<Text>,
        created_at -> Timestamp,
    }
}

diesel::table! {
    invitations (token_hash) {
        token_hash -> Binary,
        member_id -> Text,
        created_at -> Timestamp,
        expires_at -> Timestamp,
        used_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    sessions (id_hash) {
        id_hash -> Binary,
        member_id -> Nullable<Text>,
        state -> Text,
        created_at -> Timestamp,
        seen_at -> Timestamp,
    }
}

diesel::table! {
    sign_in_throttle (subject) {
        subject -> Text,
        failures -> Integer,
        blocked_until -> Nullable<Timestamp>,
        updated_at -> Timestamp,
    }
}

diesel::table! {
    server_secrets (name) {
        name -> Text,
        value -> Binary,
    }
}

diesel::table! {
    requests (id) {
        id -> Text,
        organisation_id -> Text,
        kind -> Text,
        subject_id -> Nullable<Text>,
        base_version -> Nullable<Integer>,
        payload -> Text,
        maker_id -> Text,
        maker_key_id -> Nullable<Text>,
        justification -> Text,
        state -> Text,
        version -> Integer,
        approvals -> Integer,
        approvals_needed -> Integer,
        created_at -> Timestamp,
        expires_at -> Timestamp,
        closed_at -> Nullable<Timestamp>,
        operation_kind -> Nullable<Text>,
        operation_status -> Nullable<Text>,
        amount -> Nullable<BigInt>,
        wallet_id -> Nullable<Text>,
        memo -> Nullable<Text>,
        volume_day -> Nullable<Text>,
        last_error -> Nullable<Text>,
        fulfillment_id -> Nullable<Text>,
    }
}

diesel::table! {
    decisions (id) {
        id -> Text,
        request_id -> Text,
        version -> Integer,
        maker_id -> Text,
        checker_id -> Text,
        verdict -> Text,
        comment -> Text,
        decided_at -> Timestamp,
    }
}

diesel::table! {
    keys (id) {
        id -> Text,
        organisation_id -> Text,
        request_id -> Text,
        maker_id -> Text,
        api -> Text,
        label -> Text,
        contact_email -> Nullable<Text>,
        system -> Nullable<Text>,
        environment -> Text,
        access_type -> Nullable<Text>,
        permissions -> Text,
        restrictions -> Text,
        max_transaction -> Nullable<BigInt>,
        max_daily -> Nullable<BigInt>,
        allowed_ips -> Text,
        expires_in_days -> Nullable<Integer>,
        expires_at -> Nullable<Timestamp>,
        state -> Text,
        version -> Integer,
        created_at -> Timestamp,
        revoked_at -> Nullable<Timestamp>,
        revoked_by -> Nullable<Text>,
        revoke_reason -> Nullable<Text>,
    }
}

diesel::table! {
    secrets (id) {
        id -> Text,
        key_id -> Text,
        hash -> Binary,
        last_four -> Text,
        minted_at -> Timestamp,
        confirmed_at -> Nullable<Timestamp>,
        first_used_at -> Nullable<Timestamp>,
        ended_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    key_usage (key_id) {
        key_id -> Text,
        allowed -> BigInt,
        denied -> BigInt,
        last_used_at -> Nullable<Timestamp>,
        amount -> BigInt,
        last_ip -> Nullable<Text>,
        last_agent -> Nullable<Text>,
        new_addresses -> BigInt,
        addresses_mailed_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    usage_hours (key_id, hour, endpoint, outcome) {
        key_id -> Text,
        hour -> Timestamp,
        endpoint -> Text,
        outcome -> Text,
        calls -> BigInt,
        amount -> BigInt,
    }
}

diesel::table! {
    key_addresses (key_id, ip) {
        key_id -> Text,
        ip -> Text,
        first_seen_at -> Timestamp,
        last_seen_at -> Timestamp,
        calls -> BigInt,
        denied -> BigInt,
        mailed_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    wallets (id) {
        id -> Text,
        kind -> Text,
        organisation_id -> Nullable<Text>,
        name -> Text,
        short_code -> Nullable<Text>,
        phone -> Nullable<Text>,
        currency -> Text,
        balance -> BigInt,
        version -> BigInt,
    }
}

diesel::table! {
    transfers (sequence) {
        sequence -> BigInt,
        id -> Text,
        kind -> Text,
        subject_id -> Nullable<Text>,
        debit_wallet_id -> Nullable<Text>,
        credit_wallet_id -> Text,
        amount -> BigInt,
        made_at -> Timestamp,
    }
}

// A view of those requests that ask for money to move.
diesel::table! {
    operations (id) {
        id -> Text,
        organisation_id -> Text,
        state -> Text,
        kind -> Text,
        status -> Text,
        amount -> BigInt,
        wallet_id -> Text,
        fulfillment_id -> Nullable<Text>,
        memo -> Nullable<Text>,
        maker_key_id -> Nullable<Text>,
        volume_day -> Nullable<Text>,
        last_error -> Nullable<Text>,
        created_at -> Timestamp,
        updated_at -> Timestamp,
    }
}

diesel::table! {
    key_volumes (key_id, day) {
        key_id -> Text,
        day -> Text,
        used -> BigInt,
    }
}

diesel::table! {
    idempotency_keys (owner_id, name) {
        owner_id -> Text,
        name -> Text,
        fingerprint -> Binary,
        answer -> Text,
        created_at -> Timestamp,
    }
}

diesel::table! {
    cashouts (id) {
        id -> Text,
        organisation_id -> Text,
        wallet_id -> Text,
        amount -> BigInt,
        memo -> Nullable<Text>,
        created_at -> Timestamp,
        processed_at -> Nullable<Timestamp>,
        processed_key_id -> Nullable<Text>,
        fulfillment_type -> Nullable<Text>,
        transaction_id -> Nullable<Text>,
        processed_memo -> Nullable<Text>,
    }
}

diesel::table! {
    operation_digests (organisation_id) {
        organisation_id -> Text,
        told_at -> Timestamp,
    }
}

diesel::table! {
    outbox (id) {
        id -> Text,
        recipient -> Text,
        subject -> Text,
        text_body -> Text,
        html_body -> Text,
        created_at -> Timestamp,
        attempts -> Integer,
        due_at -> Timestamp,
        claimed_until -> Nullable<Timestamp>,
        sent_at -> Nullable<Timestamp>,
        failed_at -> Nullable<Timestamp>,
        last_error -> Nullable<Text>,
    }
}

diesel::table! {
    audit (seq) {
        seq -> BigInt,
        at -> Timestamp,
        organisation_id -> Nullable<Text>,
        actor_kind -> Text,
        actor_id -> Nullable<Text>,
        actor_name -> Text,
        action -> Text,
        subject_id -> Nullable<Text>,
        detail -> Text,
        ip -> Nullable<Text>,
        request_id -> Nullable<Text>,
        previous_hash -> Binary,
        hash -> Binary,
    }
}

diesel::table! {
    usage_journal (id) {
        id -> BigInt,
        part -> Nullable<BigInt>,
        batch -> Text,
    }
}

diesel::table! {
    audit_head (id) {
        id -> Integer,
        seq -> BigInt,
        hash -> Binary,
    }
}

diesel::joinable!(requests -> members (maker_id));
diesel::joinable!(operations -> wallets (wallet_id));
diesel::joinable!(cashouts -> wallets (wallet_id));
diesel::joinable!(keys -> members (maker_id));
diesel::joinable!(decisions -> members (checker_id));
diesel::joinable!(sessions -> members (member_id));
diesel::joinable!(secrets -> keys (key_id));
diesel::joinable!(invitations -> members (member_id));
diesel::joinable!(members -> organisations (organisation_id));

diesel::allow_tables_to_appear_in_same_query!(
    cashouts,
    decisions,
    invitations,
    key_usage,
    key_volumes,
    keys,
    members,
    operation_digests,
    operations,
    organisations,
    requests,
    secrets,
    sessions,
    transfers,
    wallets,
);
