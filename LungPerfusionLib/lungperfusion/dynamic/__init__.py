"""Dynamic CT perfusion: flow, transit time and blood volume from the first pass of a bolus."""
