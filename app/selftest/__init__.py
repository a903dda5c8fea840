"""The attack suite that every backend must withstand; run by the tests and by users."""
