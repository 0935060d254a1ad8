//! Signatures and the credentials behind them.
