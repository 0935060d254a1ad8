//! The signed call to SageMaker and the answer's way back.
