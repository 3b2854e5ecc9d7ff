use amps_ha::error::CommandError;

/// Whether a [`SowView`](crate::SowView) shows what the server has.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ViewState {
    /// Not all records have come for the first time.
    Loading,
    /// All records came on the present connection, and every change behind them
    /// was put in, but for what is on its way.
    Current,
    /// The connection was lost, and not all records have come again. The view
    /// shows those of before, and what came since.
    Recovering,
    /// Nothing more will come: the client is closed, or for this reason. The
    /// records stay as they were.
    Ended(Option<CommandError>),
}

impl ViewState {
    /// Whether it is [`Current`](Self::Current).
    pub fn is_current(&self) -> bool {
        matches!(self, Self::Current)
    }

    /// Whether it is [`Ended`](Self::Ended).
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }
}
