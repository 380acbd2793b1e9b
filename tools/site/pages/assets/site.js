/** Tables that scroll sideways can be reached by keyboard. Material makes their frames when a page has been read. */
addEventListener("load", () => {
  for (const frame of document.querySelectorAll(".md-typeset__scrollwrap")) frame.tabIndex = 0;
});
