// The version that --version and doctor show.

/** As in package.json; a test keeps the two equal. */
export const VERSION = "0.1.0";
