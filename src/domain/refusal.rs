//! Every "no" a person can get, with its sentence and its stable code.

/// A rule of the product that stopped an action; the text is for the person who tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A role is missing.
    #[error("This needs the {0} role. Ask an administrator of your organisation for it.")]
    RoleMissing(&'static str),
    /// The maker tried to decide.
    #[error("You made this request, so somebody else has to decide it.")]
    OwnRequest,
    /// The request is no longer pending; holds the word for its state.
    #[error("This request was already {0}.")]
    AlreadyClosed(&'static str),
    /// This checker voted on this version before.
    #[error("You have already approved this request. It needs another person now.")]
    AlreadyVoted,
    /// The request ran out of time.
    #[error(
        "This request waited too long and can no longer be decided. Ask the maker to send it again."
    )]
    RequestExpired,
    /// A rejection without a reason.
    #[error("Say why you reject it, so that the maker can act on it.")]
    ReasonMissing,
    /// Only the maker may do this.
    #[error("Only the person who made this request can do that.")]
    NotYourRequest,
    /// Nobody but the maker could approve it.
    #[error(
        "Your organisation cannot approve this: it needs {0}. Ask an administrator to invite a checker first."
    )]
    NobodyCanApprove(String),
    /// There are as many live keys as the catalogue allows; holds how many, and of what.
    #[error(
        "Your organisation already has {0} live keys for {1}, and there may be no more. Revoke (delete) one first."
    )]
    CapReached(u32, String),
    /// The one reveal is over.
    #[error(
        "This key was already shown, and saved or used. It cannot be shown again; request a new one if it is lost."
    )]
    AlreadyRevealed,
    /// There is no secret on display to confirm.
    #[error("There is no unsaved secret to confirm.")]
    NothingToConfirm,
    /// The secret that was confirmed is not the one that opens the key.
    #[error(
        "The key was revealed again since, so the secret on that page has ended. Save the newer one, or reveal it once more."
    )]
    SecretReplaced,
    /// The key has ended.
    #[error("This key is {0}, so that is no longer possible.")]
    KeyEnded(&'static str),
    /// The label typed to confirm a revocation differs.
    #[error("The label you typed does not match. Type it exactly as shown to confirm.")]
    LabelMismatch,
    /// E-mail and password do not match, or the account cannot be used: one sentence for all causes.
    #[error("E-mail and password do not match.")]
    BadCredentials,
    /// Too many failed attempts; holds the seconds to wait.
    #[error("Too many failed attempts. Try again in {}.", minutes(*.0))]
    Throttled(u64),
    /// The invitation link is used, expired or unknown.
    #[error("This link is no longer valid. Ask whoever runs this server for a new one.")]
    InvitationOver,
    /// A chosen password breaks a rule; holds the sentence.
    #[error("{0}")]
    WeakPassword(&'static str),
    /// That e-mail address already belongs to a member.
    #[error("{0} is already a member.")]
    EmailTaken(String),
    /// Somebody is a member already, with other roles than asked for.
    #[error(
        "{0} is already a member, as {1}. Invite with the same roles to send a new link; changing roles is another step."
    )]
    RolesDiffer(String, String),
    /// The short code already belongs to an organisation or merchant.
    #[error("The short code {0} is already taken.")]
    ShortCodeTaken(String),
    /// A phone number or short code has a wallet already.
    #[error("{0} already has a wallet.")]
    WalletTaken(String),
    /// Money that does not exist cannot be asked to move.
    #[error("The wallet that is to pay holds less than that.")]
    NotEnoughMoney,
    /// A value given on the command line or in a form is not acceptable; holds the sentence.
    #[error("{0}")]
    Invalid(String),
}

impl Refusal {
    /// The stable code of this refusal, for logs and machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::RoleMissing(_) => "role_missing",
            Self::OwnRequest => "own_request",
            Self::AlreadyClosed(_) => "already_closed",
            Self::AlreadyVoted => "already_voted",
            Self::RequestExpired => "request_expired",
            Self::ReasonMissing => "reason_missing",
            Self::NotYourRequest => "not_your_request",
            Self::NobodyCanApprove(_) => "nobody_can_approve",
            Self::CapReached(..) => "cap_reached",
            Self::AlreadyRevealed => "already_revealed",
            Self::NothingToConfirm => "nothing_to_confirm",
            Self::SecretReplaced => "secret_replaced",
            Self::KeyEnded(_) => "key_ended",
            Self::LabelMismatch => "label_mismatch",
            Self::BadCredentials => "bad_credentials",
            Self::Throttled(_) => "throttled",
            Self::InvitationOver => "invitation_over",
            Self::WeakPassword(_) => "weak_password",
            Self::EmailTaken(_) => "email_taken",
            Self::RolesDiffer(..) => "roles_differ",
            Self::ShortCodeTaken(_) => "short_code_taken",
            Self::WalletTaken(_) => "wallet_taken",
            Self::NotEnoughMoney => "insufficient_balance",
            Self::Invalid(_) => "invalid",
        }
    }
}

/// Seconds as whole minutes, in words.
fn minutes(seconds: u64) -> String {
    match seconds.div_ceil(60) {
        0 | 1 => "a minute".to_owned(),
        n => format!("{n} minutes"),
    }
}
