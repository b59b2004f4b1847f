// Both in one process, so that what they need is made ready once.
import "./clients.test.js";
import "./publish.test.js";
