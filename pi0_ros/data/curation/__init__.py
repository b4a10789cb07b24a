"""Looking at datasets and making better ones of them: checks, contact sheets, exact statistics, copies of chosen parts."""
