//! Where runs are tracked beside Oppen's own record.

use super::Word;
use crate::base::Millis;
use crate::spec::lower::Must;
use crate::spec::scalar::Plain;

document! {
    /// Servers that hear of runs, and are heard.
    "tracking" pub struct TrackingDecl {
        /// An MLflow server.
        "mlflow" mlflow: Option<MlflowDecl>,
    }
}

document! {
    /// An MLflow server: metrics that runs log there are read, and params, outcome and cost of every run are written there.
    "mlflow" pub struct MlflowDecl {
        /// Its address, such as `http://mlflow.example:5000`.
        "uri" uri: Must<Word>,
        /// The experiment of all runs (default: the project's name). It is made when it does not exist.
        "experiment" experiment: Option<Word>,
        /// Environment variable of the caller that holds a bearer token.
        "token" token: Option<Word>,
        /// Environment variable of the caller that holds `user:password`.
        "basic" basic: Option<Word>,
        /// How often metrics are read (default 5s).
        "poll" poll: Option<Plain<Millis>>,
        /// Whether params, outcome and cost are written (default true).
        "write" write: Option<Plain<bool>>,
    }
}
