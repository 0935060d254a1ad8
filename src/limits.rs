//! Each team's share: a permit → [`Admitted`], or a refusal that says when to come back.
